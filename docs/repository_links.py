"""Links of the pages to files outside `docs/`: relative here, on the site to the repository."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?P<target>\.\./[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:  # noqa: ANN401 - MkDocs'
    """Return the page with these links made absolute.

    Raises:
        ValueError: A link names a file that is not there.
    """
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def absolute(link: re.Match[str]) -> str:
        path = (folder / link["target"]).resolve()
        if path.is_relative_to(ROOT / "docs"):
            return link[0]
        if not path.exists():
            msg = f"{page.file.src_uri} links to {link['target']}, which is not there"
            raise ValueError(msg)
        kind = "tree" if path.is_dir() else "blob"
        place = path.relative_to(ROOT).as_posix()
        return f"]({config.repo_url}/{kind}/main/{place}{link['anchor'] or ''})"

    return LINK.sub(absolute, markdown)
