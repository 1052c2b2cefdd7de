"""Tables on paper: columns as wide as their text, a head on every page."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.tearsheet.formats import NOTHING, say
from pipelines.tearsheet.paper import (
    BAD,
    BLUE,
    HEIGHT,
    INK,
    INNER,
    LEFT,
    LINE,
    SOFT,
    Paper,
    text_width,
)
from pipelines.tearsheet.tables import Column, Table

ROW = 0.172
_SIZE, _HEAD_LETTERS = 7.2, 12
_GUTTER = 0.12
_BESIDE_BARS = 0.62
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
    paper: Paper,
    table: Table,
    *,
    shades: Sequence[Sequence[str | None]] | None = None,
    bars: Sequence[float] | None = None,
) -> None:
    """Set a table whole on one page, or on as many pages as it needs if it is longer than half of one.

    Parameters
    ----------
    paper : Paper
    table : Table
    shades : colours (rows, columns), optional
        Behind the cells; None for none.
    bars : lengths between 0 and 1 (rows,), optional
        Drawn on the right of each row.
    """
    rows = [_texts(table.columns, row) for row in table.rows()]
    layout = lay_out(table.columns, rows, INNER if bars is None else _BESIDE_BARS * INNER)
    height = layout.head_height + ROW * len(rows)
    whole = height if height < HEIGHT / 2 else layout.head_height + 3 * ROW
    paper.caption(table.title, needed=whole + (0.3 if table.note else 0.0))
    if table.note:
        paper.paragraph(table.note, size=7.5)
    _set_head(paper, layout)
    for number, row in enumerate(rows):
        if paper.room(ROW):
            _set_head(paper, layout)
        if bars is not None:
            _set_bar(paper, bars[number])
        _set_row(paper, layout, row, None if shades is None else shades[number])
    if not rows:
        paper.text(LEFT, "None.", _SIZE, color=SOFT)
        paper.at += ROW
    paper.at += 0.06


def lay_out(
    columns: tuple[Column, ...], rows: Sequence[Sequence[str]], width: float = INNER
) -> Layout:
    """Return the layout that shows every text whole: spread over `width`, or set smaller to fit it."""
    heads = tuple("\n".join(textwrap.wrap(c.label, _HEAD_LETTERS)) for c in columns)
    natural = [
        max([text_width(head, _SIZE, "bold"), *(text_width(row[i], _SIZE) for row in rows)])
        for i, head in enumerate(heads)
    ]
    free = width - _GUTTER * (len(columns) - 1)
    scale = min(1.0, free / sum(natural))
    spread = (free - scale * sum(natural)) / len(columns)
    widths = tuple(scale * own + spread for own in natural)
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


def _set_bar(paper: Paper, length: float) -> None:
    start = _BESIDE_BARS * INNER + 2 * _GUTTER
    paper.at += 0.04
    paper.box(
        LEFT + start, max((INNER - start) * length, 0.02), ROW - 0.08, BLUE if length else BAD
    )
    paper.at -= 0.04


def _set_cell(paper: Paper, layout: Layout, i: int, text: str, **style: Any) -> None:
    right = layout.columns[i].is_number
    place = layout.starts[i] + (layout.widths[i] if right else 0.0)
    paper.text(place, text, layout.size, ha="right" if right else "left", va="baseline", **style)
