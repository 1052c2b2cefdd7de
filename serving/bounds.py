"""Apply the bounds of an interval. Fitting is in `evaluation.conformal`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ResidualBounds:
    """Bounds of (realised - expected) in units of volatility, by group of volatility.

    Attributes
    ----------
    edges : tuple of float
        Inner edges of the volatility over the horizon [log return], ascending; a value on an edge
        belongs to the lower group. Empty for one group.
    bounds : tuple of (lower, upper)
        One more than edges, from calm to wild [scale units].
    """

    edges: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]

    def at(self, scale: Floats) -> tuple[Floats, Floats]:
        """Return (lower, upper) at every volatility, NaN where it is NaN; shape (n,) each."""
        group = np.searchsorted(np.asarray(self.edges), scale, side="left")
        table = np.asarray(self.bounds)[np.minimum(group, len(self.edges))]
        table[np.isnan(scale)] = np.nan
        return table[:, 0], table[:, 1]

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made; ValueError if a group has no bounds or no edge."""
        bounds = tuple((float(lower), float(upper)) for lower, upper in tree["bounds"])
        edges = tuple(float(edge) for edge in tree["edges"])
        if len(bounds) != len(edges) + 1:
            raise ValueError(
                f"{len(bounds)} pairs of bounds for {len(edges)} edges; one more is needed"
            )
        return cls(edges, bounds)
