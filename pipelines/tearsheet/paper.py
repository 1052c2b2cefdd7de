"""A4 pages that fill from the top, measured in inches and drawn by matplotlib."""

import textwrap
from collections.abc import Sequence
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from pipelines.tearsheet.scales import Tick

WIDTH, HEIGHT = 8.27, 11.69
LEFT = RIGHT = 0.7
TOP = BOTTOM = 0.75
INNER = WIDTH - LEFT - RIGHT
INK, SOFT, LINE, WARN = "#1d2430", "#566072", "#d9dee6", "#b3261e"
GOOD, BAD = "#1f7a48", "#b8352b"
BLUE, ORANGE = "#2962a8", "#b85f12"
_POINTS = 72.0
_LEADING = 1.4


class Paper:
    """A document that grows downwards.

    Parameters
    ----------
    pages : PdfPages
        Open; `close` writes the last page but leaves the document to its owner.
    title, stamp : str
        At the foot of every page; in red at the head of every page, unless empty.
    """

    def __init__(self, pages: PdfPages, title: str, stamp: str) -> None:
        self._pages, self._title, self._stamp = pages, title, stamp
        self._number = 0
        self.at = 0.0
        self.page = self._begin()

    @property
    def left(self) -> float:
        """Inches that are left on this page."""
        return HEIGHT - BOTTOM - self.at

    def room(self, height: float) -> bool:
        """Begin a new page unless `height` inches are left on this one; return whether it did."""
        if height <= self.left:
            return False
        self.close()
        self.page = self._begin()
        return True

    def close(self) -> None:
        """Write the page that is open."""
        self._pages.savefig(self.page)  # type: ignore[no-untyped-call]

    def text(self, x: float, text: str, size: float, **style: Any) -> None:
        """Set text with its top here, `x` inches from the left edge of the page."""
        style = {"va": "top", "color": INK, "linespacing": 1.1, **style}
        self.page.text(x / WIDTH, 1 - self.at / HEIGHT, text, size=size, **style)

    def box(self, x: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle whose top is here."""
        corner = (x / WIDTH, 1 - (self.at + height) / HEIGHT)
        self.page.add_artist(
            Rectangle(
                corner, width / WIDTH, height / HEIGHT, facecolor=colour, edgecolor="none", zorder=0
            )
        )

    def heading(self, text: str, needed: float = 1.5) -> None:
        """Set the title of a section, on a page with `needed` inches left for what follows."""
        self.room(0.5 + needed)
        self.at += 0.16
        self.box(LEFT, INNER, 0.01, LINE)
        self.at += 0.12
        self.text(LEFT, text, 12.5, weight="bold")
        self.at += 0.28

    def caption(self, text: str, needed: float) -> None:
        """Set the title of a table or a chart, on a page with `needed` inches left for it."""
        self.room(0.3 + needed)
        self.at += 0.1
        self.text(LEFT, text, 9.0, weight="bold")
        self.at += 0.21

    def paragraph(self, text: str, size: float = 8.5, colour: str = SOFT) -> None:
        """Set running text over the whole width."""
        letters = int(INNER / (text_width(text, size) / max(len(text), 1)))
        for line in textwrap.wrap(text, letters):
            self.room(size * _LEADING / _POINTS)
            self.text(LEFT, line, size, color=colour)
            self.at += size * _LEADING / _POINTS
        self.at += 0.05

    def axes(self, height: float, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> Axes:
        """Return axes over the whole width whose unit square is the drawing, marked at the ticks."""
        self.room(height + 0.3)
        margin = 0.5
        left, bottom = (LEFT + margin) / WIDTH, 1 - (self.at + height) / HEIGHT
        axes = self.page.add_axes((left, bottom, (INNER - margin) / WIDTH, height / HEIGHT))
        self.at += height + 0.3
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xticks([t.place for t in x_ticks], [t.label for t in x_ticks])
        axes.set_yticks([t.place for t in y_ticks], [t.label for t in y_ticks])
        axes.spines[:].set_visible(False)
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=7, labelcolor=SOFT)
        return axes

    def _begin(self) -> Figure:
        self._number += 1
        self.page = Figure(figsize=(WIDTH, HEIGHT))
        self.at = HEIGHT - 0.5
        self.text(LEFT, self._title, 7, color=SOFT)
        self.text(WIDTH - RIGHT, str(self._number), 7, color=SOFT, ha="right")
        self.at = 0.0
        if self._stamp:
            lines = textwrap.wrap(self._stamp, 95)
            height = 0.2 + 0.16 * len(lines)
            self.box(0.0, WIDTH, height, WARN)
            self.at = 0.1
            self.text(WIDTH / 2, "\n".join(lines), 9, color="white", weight="bold", ha="center")
            self.at = height
        self.at = max(TOP, self.at + 0.25)
        return self.page


@cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return how wide the longest line of `text` is set, in inches."""
    font = FontProperties(size=size, weight=weight)
    widths = (
        text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]
        for line in text.split("\n")
    )
    return float(max(widths)) / _POINTS
