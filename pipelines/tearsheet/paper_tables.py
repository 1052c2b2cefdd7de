"""Tables on paper: columns as wide as their text, a head on every page."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.tearsheet.formats import NOTHING, say
from pipelines.tearsheet.paper import BAD, INK, INNER, LEFT, LINE, SOFT, Paper, text_width
from pipelines.tearsheet.tables import Column, Table

ROW = 0.172
_SIZE, _HEAD_LETTERS = 7.2, 12
_GUTTER = 0.12
_LINE, _BASELINE = 0.11, 0.118


class Layout(NamedTuple):
    """Where the columns stand: the left edge and width of each in inches, and the size of the letters."""

    columns: tuple[Column, ...]
    heads: tuple[str, ...]
    starts: tuple[float, ...]
    widths: tuple[float, ...]
    size: float

    @property
    def head_height(self) -> float:
        """Inches that the head takes."""
        return _LINE * max(head.count("\n") + 1 for head in self.heads) + 0.07


def set_table(
    paper: Paper, table: Table, shades: Sequence[Sequence[str | None]] | None = None
) -> None:
    """Set a table on as many pages as it needs.

    Parameters
    ----------
    paper : Paper
    table : Table
    shades : colours (rows, columns), optional
        Behind the cells; None for none.
    """
    rows = [_texts(table.columns, row) for row in table.rows()]
    layout = lay_out(table.columns, rows)
    paper.caption(table.title, needed=layout.head_height + 3 * ROW + (0.3 if table.note else 0.0))
    if table.note:
        paper.paragraph(table.note, size=7.5)
    _set_head(paper, layout)
    for number, row in enumerate(rows):
        if paper.room(ROW):
            _set_head(paper, layout)
        _set_row(paper, layout, row, None if shades is None else shades[number])
    if not rows:
        paper.text(LEFT, "None.", _SIZE, color=SOFT)
        paper.at += ROW
    paper.at += 0.06


def lay_out(columns: tuple[Column, ...], rows: Sequence[Sequence[str]]) -> Layout:
    """Return the layout that shows every text whole: spread over the width, or set smaller to fit it."""
    heads = tuple("\n".join(textwrap.wrap(c.label, _HEAD_LETTERS)) for c in columns)
    natural = [
        max([text_width(head, _SIZE, "bold"), *(text_width(row[i], _SIZE) for row in rows)])
        for i, head in enumerate(heads)
    ]
    free = INNER - _GUTTER * (len(columns) - 1)
    scale = min(1.0, free / sum(natural))
    spread = (free - scale * sum(natural)) / len(columns)
    widths = tuple(scale * width + spread for width in natural)
    starts = tuple(LEFT + sum(widths[:i]) + _GUTTER * i for i in range(len(columns)))
    return Layout(columns, heads, starts, widths, _SIZE * scale)


def _texts(columns: Sequence[Column], row: Sequence[Any]) -> list[str]:
    return [say(value, column.kind) for value, column in zip(row, columns, strict=True)]


def _set_head(paper: Paper, layout: Layout) -> None:
    top = paper.at
    for i, head in enumerate(layout.heads):
        for above, line in enumerate(reversed(head.split("\n"))):
            paper.at = top + layout.head_height - 0.06 - _LINE * above
            _set_cell(paper, layout, i, line, color=SOFT, weight="bold")
    paper.at = top + layout.head_height
    paper.box(LEFT, INNER, 0.008, SOFT)
    paper.at += 0.008


def _set_row(
    paper: Paper, layout: Layout, row: Sequence[str], shades: Sequence[str | None] | None
) -> None:
    for i, (column, text) in enumerate(zip(layout.columns, row, strict=True)):
        shade = None if shades is None else shades[i]
        if shade is not None:
            paper.box(layout.starts[i] - _GUTTER / 2, layout.widths[i] + _GUTTER, ROW, shade)
        lost = column.kind in {"percent", "money"} and text.startswith("−") and shades is None
        paper.at += _BASELINE
        _set_cell(paper, layout, i, text, color=SOFT if text == NOTHING else BAD if lost else INK)
        paper.at -= _BASELINE
    paper.at += ROW
    paper.box(LEFT, INNER, 0.004, LINE)


def _set_cell(paper: Paper, layout: Layout, i: int, text: str, **style: Any) -> None:
    right = layout.columns[i].is_number
    place = layout.starts[i] + (layout.widths[i] if right else 0.0)
    paper.text(place, text, layout.size, ha="right" if right else "left", va="baseline", **style)
