"""One file per public dataset format."""
