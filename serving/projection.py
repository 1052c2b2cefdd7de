"""From all features to the columns that a model was fitted on: some as they are, some summarised.

A projection is learned with the model and saved with it (`serving.scorer.ScorerSpec.projection`), so
whoever scores hands over the full row of features and need not know what a training chose. Every output
depends on its own row alone, by the same operations in the same order however many rows there are:
one hour scored by itself equals the same hour scored with its year, to the last bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from serving.observations import Matrix, Observations

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """A summary of features that move together: ``sum(loading * (value - centre) / scale)``.

    Parameters
    ----------
    members : tuple of str
        Features.
    centre, scale, loading : tuples of float, one a member
        A missing member counts as its centre; where all are missing, so is the summary. `scale` is
        positive, the squares of `loading` sum to 1.
    """

    members: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    loading: tuple[float, ...]

    def values(self, X: Matrix, place: Mapping[str, int]) -> Floats:
        """Return the summary of every row of X, shape (m,); `place` is each feature's column."""
        total, seen = np.zeros(len(X)), np.zeros(len(X), dtype=bool)
        terms = zip(self.members, self.centre, self.scale, self.loading, strict=True)
        for member, centre, scale, loading in terms:
            value = X[:, place[member]].astype(np.float64)
            known = ~np.isnan(value)
            total += np.where(known, (value - centre) / scale * loading, 0.0)
            seen |= known
        return np.where(seen, total, np.nan)


@dataclass(frozen=True)
class Projection:
    """Which features a model looks at: `kept` as they are, then one column a component.

    Parameters
    ----------
    kept : tuple of str
        In the order of the features.
    components : tuple of Component
    """

    kept: tuple[str, ...]
    components: tuple[Component, ...] = ()

    @property
    def columns(self) -> int:
        """How many columns the model gets."""
        return len(self.kept) + len(self.components)

    def apply(
        self, X: Matrix, names: Sequence[str], rows: npt.NDArray[np.int64] | None = None
    ) -> Matrix:
        """Return the model's columns of X, or of some of its rows.

        Parameters
        ----------
        X : array of float32, shape (m, k)
            NaN means missing, and stays missing in a kept column.
        names : sequence of str, length k
            Features, in the order of X; more than are needed, in any order.
        rows : array of int64, optional
            By default all.

        Returns
        -------
        array of float32, shape (m or rows, columns)

        Raises
        ------
        ValueError
            If a feature that is needed is not among `names`.
        """
        place = {name: column for column, name in enumerate(names)}
        needed = {*self.kept, *(m for c in self.components for m in c.members)}
        if lacking := sorted(needed - place.keys()):
            raise ValueError(
                f"the model looks at {', '.join(lacking)}, which the features at hand lack; "
                "score with the feature set it was fitted on"
            )
        chosen = np.array([place[name] for name in self.kept], dtype=np.int64)
        taken = X if rows is None else X[rows]
        out = np.empty((len(taken), self.columns), dtype=np.float32)
        out[:, : chosen.size] = taken[:, chosen]
        for number, component in enumerate(self.components, start=chosen.size):
            out[:, number] = component.values(taken, place)
        return out

    def project(
        self, observations: Observations, names: Sequence[str], context_bars: int
    ) -> Observations:
        """Return the same observations with the model's columns.

        For a model of rows (`context_bars` 1) only the asked rows are computed, and are all there is.
        """
        if context_bars > 1:
            return observations.with_columns(self.apply(observations.X, names))
        rows = observations.rows
        return Observations(
            self.apply(observations.X, names, rows),
            observations.symbols,
            observations.symbol[rows],
            observations.bar[rows],
            np.arange(rows.size),
        )

    def spread(self, importance: Floats, names: Sequence[str]) -> Floats:
        """Give the importance of the model's columns back to the features that they are made of.

        Parameters
        ----------
        importance : array of float64, shape (columns,)
        names : sequence of str, length k

        Returns
        -------
        array of float64, shape (k,)
            With the same sum; a component's share is divided by its squared loadings.
        """
        place = {name: column for column, name in enumerate(names)}
        shares = np.zeros(len(names))
        for name, value in zip(self.kept, importance, strict=False):
            shares[place[name]] += value
        for component, value in zip(self.components, importance[len(self.kept) :], strict=True):
            for member, loading in zip(component.members, component.loading, strict=True):
                shares[place[member]] += value * loading**2
        return shares

    def as_json(self) -> dict[str, Any]:
        """Return the projection as plain JSON types; numbers survive to the last bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        components = (
            Component(**{name: tuple(values) for name, values in component.items()})
            for component in tree["components"]
        )
        return cls(tuple(tree["kept"]), tuple(components))


def projected(
    projection: Projection | None,
    observations: Observations,
    names: Sequence[str],
    context_bars: int,
) -> Observations:
    """Return what a model is given: `observations` themselves where nothing was selected."""
    if projection is None:
        return observations
    return projection.project(observations, names, context_bars)
