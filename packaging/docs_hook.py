"""mkdocs hook: a link from a page to a source file becomes the path of the file as code.

The site contains the pages only. The repository has no fixed address, so a source file has no target.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The text of a page with each link that leaves ``docs/`` replaced by ``text (`path`)``."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def as_code(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[2]))
        if path.startswith("docs/"):
            return found[0]
        text = found[1].strip("`")
        return f"`{path}`" if path.endswith(text) else f"{text} (`{path}`)"

    return _LINK.sub(as_code, markdown)
