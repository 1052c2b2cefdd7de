"""The drawings of the page of outcomes, as SVG paths in their own coordinates; y grows downwards."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.tearsheet.formats import Kind
from pipelines.tearsheet.scales import Scale, Tick, value_scale

Floats = npt.NDArray[np.float64]

SHADES = 5
_RADIUS = 6.5
# Beyond these quantiles a few large moves would squeeze all others together.
_CUT = (0.005, 0.995)
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Frame:
    """A drawing's size [units of its SVG] and its axes."""

    width: float
    height: float
    x: Scale
    y: Scale
    x_ticks: list[Tick]
    y_ticks: list[Tick]

    def point(self, x: float, y: float) -> str:
        """Return where a pair of values is drawn."""
        across, up = self.x.place(x) * self.width, (1.0 - self.y.place(y)) * self.height
        return f"{across:.1f},{up:.1f}"


@dataclass(frozen=True)
class Cloud:
    """Predicted against realised returns: hexagons by how many pairs are in them, and two lines.

    Attributes
    ----------
    hexagons : list of str
        One path a shade, from few to many pairs.
    identity : str
        Points of the line on which a forecast is what came.
    means : list of str
        Mean realised against mean predicted return of equally filled bins.
    outside : int
        Pairs beyond the edge of the drawing.
    """

    frame: Frame
    hexagons: list[str]
    identity: str
    means: list[str]
    outside: int


def draw_cloud(
    predicted: Floats, realised: Floats, means: pl.DataFrame | None, width: float, height: float
) -> Cloud:
    """Draw pairs of returns on scales of their own.

    Parameters
    ----------
    predicted, realised : arrays of float64, shape (n,)
        Finite, at least one.
    means : polars.DataFrame or None
        `expected_return` and `realised_return` of bins, see `evaluation.reliability`.
    width, height : float
    """
    x, y = (value_scale(np.quantile(values, _CUT).tolist()) for values in (predicted, realised))
    frame = Frame(width, height, x, y, x.ticks("percent"), y.ticks("percent"))
    across = (predicted - x.low) / (x.high - x.low) * width
    down = (1.0 - (realised - y.low) / (y.high - y.low)) * height
    inside = (across >= 0) & (across <= width) & (down >= 0) & (down <= height)
    low, high = max(x.low, y.low), min(x.high, y.high)
    identity = f"{frame.point(low, low)} {frame.point(high, high)}" if low < high else ""
    pairs = [] if means is None else means.select("expected_return", "realised_return").rows()
    shown = [frame.point(a, b) for a, b in pairs if x.low <= a <= x.high and y.low <= b <= y.high]
    hexagons = _hexagons(across[inside], down[inside])
    return Cloud(frame, hexagons, identity, shown, int((~inside).sum()))


def _hexagons(x: Floats, y: Floats) -> list[str]:
    """Return the paths of the hexagons that points fall into, by the logarithm of how many do."""
    centres, counts = hexagonal_counts(x, y, _RADIUS)
    if not counts.size:
        return [""] * SHADES
    most = math.log(counts.max()) or 1.0
    shade = np.minimum((np.log(counts) / most * SHADES).astype(int), SHADES - 1)
    half, up = _RADIUS * math.sqrt(3) / 2, _RADIUS / 2
    around = f"v{_RADIUS:g}l{-half:.2f},{up:g}l{-half:.2f},{-up:g}v{-_RADIUS:g}l{half:.2f},{-up:g}z"
    starts = [f"M{a + half:.1f},{b - up:.1f}{around}" for a, b in centres]
    return ["".join(s for s, k in zip(starts, shade, strict=True) if k == n) for n in range(SHADES)]


def hexagonal_counts(x: Floats, y: Floats, radius: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the centres (k, 2) of the hexagons that hold a point, and how many each holds.

    Every point goes to the nearest centre of a honeycomb whose cells stand on a corner: rows are
    1.5 `radius` apart, and every other row is shifted by half a cell.
    """
    wide, high = radius * math.sqrt(3), radius * 1.5
    row = np.round(y / high)
    near = _nearest_in(row, x, y, wide, high)
    # The one other row that may be nearer is on the other side of the point.
    other = row + np.where(y / high >= row, 1, -1)
    far = _nearest_in(other, x, y, wide, high)
    nearer = (far[2] < near[2])[:, None]
    centres = np.where(nearer, np.column_stack(far[:2]), np.column_stack(near[:2]))
    found, counts = np.unique(centres.round(6), axis=0, return_counts=True)
    return found, counts.astype(np.int64)


def _nearest_in(
    row: Floats, x: Floats, y: Floats, wide: float, high: float
) -> tuple[Floats, Floats, Floats]:
    """Return the nearest centre in the given rows, and its squared distance."""
    shift = np.where(row % 2 == 1, 0.5, 0.0)
    across = (np.round(x / wide - shift) + shift) * wide
    down = row * high
    return across, down, (across - x) ** 2 + (down - y) ** 2


@dataclass(frozen=True)
class Line:
    """A curve of one name: its parts between gaps, and its points."""

    name: str
    parts: list[str]
    points: list[str]


@dataclass(frozen=True)
class Lines:
    """Curves of several names on common axes; `level` is the height of a line to compare with."""

    title: str
    frame: Frame
    lines: list[Line]
    level: float | None = None


def draw_weeks(
    title: str,
    weekly: pl.DataFrame,
    figure: str,
    kind: Kind,
    size: tuple[float, float],
    level: float | None = None,
) -> Lines:
    """Draw a figure of every model week by week; a week without one parts the line.

    Parameters
    ----------
    weekly : polars.DataFrame
        `model`, `week` (a Monday) and `figure`; at least one row.
    level : float, optional
        What the figure would be at best, or by chance.
    """
    first, last = cast(date, weekly["week"].min()), cast(date, weekly["week"].max())
    values = [*weekly[figure].drop_nulls(), *([] if level is None else [level])]
    y = value_scale(values)
    weeks = (last - first) // _WEEK
    x = Scale(-0.5, weeks + 0.5)
    frame = Frame(*size, x, y, _week_ticks(first, weeks, x), y.ticks(kind))
    lines = []
    for (model,), rows in weekly.sort("week").group_by("model", maintain_order=True):
        told = rows.drop_nulls(figure).select("week", figure).rows()
        placed = [((week - first) // _WEEK, value) for week, value in told]
        points = [frame.point(*place) for place in placed]
        lines.append(Line(str(model), _parts(placed, points), points))
    return Lines(title, frame, lines, None if level is None else (1.0 - y.place(level)) * size[1])


def _week_ticks(first: date, weeks: int, x: Scale) -> list[Tick]:
    every = max(1, math.ceil((weeks + 1) / 6))
    return [Tick(x.place(k), f"{first + k * _WEEK:%d %b}") for k in range(0, weeks + 1, every)]


def _parts(placed: Sequence[tuple[int, float]], points: Sequence[str]) -> list[str]:
    """Return the points of every unbroken run of weeks."""
    runs: list[list[str]] = []
    for k, point in enumerate(points):
        if k and placed[k][0] == placed[k - 1][0] + 1:
            runs[-1].append(point)
        else:
            runs.append([point])
    return [" ".join(run) for run in runs if len(run) > 1]


def draw_calibration(curves: Mapping[str, pl.DataFrame], size: tuple[float, float]) -> Lines:
    """Draw how often what was given a probability came true, a curve a model.

    Parameters
    ----------
    curves : mapping
        Model to `predicted` and `observed` of its bins; at least one bin in all.
    """
    both = [v for c in curves.values() for name in ("predicted", "observed") for v in c[name]]
    scale = value_scale(both)
    lines = []
    frame = Frame(*size, scale, scale, scale.ticks("share"), scale.ticks("share"))
    for model, curve in curves.items():
        points = [frame.point(a, b) for a, b in curve.select("predicted", "observed").rows()]
        lines.append(Line(model, [" ".join(points)], points))
    return Lines("How often it came true", frame, lines)
