"""Reports as HTML, Markdown and charts."""
