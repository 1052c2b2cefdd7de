"""A page in a folder of reports, of which a reader never sees half."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """Where a page is, and whether it was not there before."""

    path: Path
    changed: bool


def write_page(path: Path, html: str) -> Page:
    """Write a page in the place of the one that stands, or leave that alone if it says the same."""
    changed = not path.is_file() or path.read_text(encoding="utf-8") != html
    if changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(html, encoding="utf-8")
        draft.replace(path)
    return Page(path, changed)
