"""What a model was trained on, kept small: enough to say of any later window whether the world moved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.drift.classifier import Classifier, fit_classifier
from evaluation.drift.histograms import Columns, bin_edges
from evaluation.drift.null import PIECES, Null
from evaluation.drift.pulse import Pulse, fit_pulse, pulse_arrays, pulse_from
from evaluation.drift.spread import Spread, fit_spread, spread_arrays, spread_from
from evaluation.drift.streams import (
    ESTIMATES,
    OUTCOMES,
    Stream,
    estimated_losses,
    fit_stream,
    mean_by_bar,
    realised_losses,
)
from serving.compiled import Counts, Floats

PULSE = "pulse"
DAILY = ("features", "joint", "predictions", "outcomes", "estimated")
"""Questions that are asked once a day, of a window."""
GROUPS = (*DAILY, PULSE)
"""Questions of a day, the pulse of its hours being one; each may alarm with a sixth of the level, so that
together they keep to it."""
PREDICTED = ("p_down", "p_up", "expected_return")
FORMAT = 2

Part = TypeVar("Part")
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Predictions:
    """What a model said, and what came of it.

    Attributes
    ----------
    proba : float64 (n, 3)
        Of down, flat, up.
    expected_return : float64 (n,)
        Log return over the horizon.
    outcome : int64 (n,)
        Class number; -1 where it is not known yet.
    bar : int64 (n,)
        Number of each row's bar.
    """

    proba: Floats
    expected_return: Floats
    outcome: npt.NDArray[np.int64]
    bar: Counts

    def columns(self) -> Columns:
        """Return `PREDICTED` as columns; float32 (n, 3)."""
        chosen = (self.proba[:, 0], self.proba[:, 2], self.expected_return)
        return np.column_stack(chosen).astype(np.float32)

    def estimated(self) -> Floats:
        """Return the losses that the probabilities promise, by bar; (bars, 2)."""
        return mean_by_bar(estimated_losses(self.proba), self.bar)[0]

    def realised(self) -> tuple[Floats, Counts]:
        """Return the losses that came true, by bar (bars, 2), and the bars; unknown ones left out."""
        known = self.outcome >= 0
        return mean_by_bar(realised_losses(self.proba[known], self.outcome[known]), self.bar[known])


@dataclass(frozen=True)
class Reference:
    """The reference of one model; a group that could not be learned is None, with its reason.

    Attributes
    ----------
    window_bars : int
        Length of the windows it can judge.
    features, predictions : Spread or None
    joint : Classifier or None
    outcomes, estimated : Stream or None
    pulse : Pulse or None
    missing : dict
        Group -> why it was not learned.
    """

    window_bars: int
    features: Spread | None
    joint: Classifier | None
    predictions: Spread | None
    outcomes: Stream | None
    estimated: Stream | None
    pulse: Pulse | None
    missing: dict[str, str] = field(default_factory=dict)


def whole_window(bars: int) -> int:
    """Return the largest multiple of `PIECES` up to `bars`, at least one bar a piece."""
    return max(bars // PIECES, 1) * PIECES


def build_reference(
    names: tuple[str, ...],
    X: Columns,
    bar: Counts,
    predictions: Predictions,
    *,
    window_bars: int,
    bars_per_day: int,
) -> Reference:
    """Learn the reference of a model.

    Parameters
    ----------
    names : tuple of str
    X : float32 (n, k)
        Features of the rows that the model was fitted on; NaN means missing.
    bar : int64 (n,)
    predictions : Predictions
        Out of fold: of rows that the model which said it had not seen.
    window_bars : int
        Length of the windows to come; cut to a multiple of `PIECES`.
    bars_per_day : int
    """
    window = whole_window(window_bars)
    missing: dict[str, str] = {}

    def learned(group: str, make: Callable[[], Part]) -> Part | None:
        try:
            return make()
        except ValueError as error:
            missing[group] = str(error)
            return None

    said = predictions
    features = learned("features", lambda: fit_spread(names, X, bar, window_bars=window))
    edges = bin_edges(X)[0] if features is None else features.edges
    return Reference(
        window_bars=window,
        features=features,
        joint=learned("joint", lambda: fit_classifier(X, bar, edges, window_bars=window)),
        predictions=learned(
            "predictions",
            lambda: fit_spread(PREDICTED, said.columns(), said.bar, window_bars=window),
        ),
        outcomes=learned(
            "outcomes", lambda: fit_stream(OUTCOMES, said.realised()[0], window_bars=window)
        ),
        estimated=learned(
            "estimated", lambda: fit_stream(ESTIMATES, said.estimated(), window_bars=window)
        ),
        pulse=learned(PULSE, lambda: fit_pulse(names, X, bar, edges, bars_per_day=bars_per_day)),
        missing=missing,
    )


def to_arrays(reference: Reference) -> tuple[Arrays, dict[str, Any]]:
    """Return a reference as named arrays and what goes with them as plain JSON types."""
    arrays: Arrays = {}
    about: dict[str, Any] = {
        "format": FORMAT,
        "window_bars": reference.window_bars,
        "missing": reference.missing,
    }
    for group in GROUPS:
        part = getattr(reference, group)
        if part is not None:
            found, about[group] = _parts(part)
            arrays |= {f"{group}/{name}": np.ascontiguousarray(v) for name, v in found.items()}
    return arrays, about


def _parts(part: Spread | Classifier | Stream | Pulse) -> tuple[Arrays, dict[str, Any]]:
    if isinstance(part, Pulse):
        return dict(pulse_arrays(part)), {"names": list(part.names), "cells": part.cells}
    if isinstance(part, Spread):
        return dict(spread_arrays(part)), {"names": list(part.names), "bars": part.bars}
    null = {f"null.{name}": array for name, array in part.null.as_arrays().items()}
    if isinstance(part, Stream):
        own: Arrays = {"means": part.means, "deviations": part.deviations}
        return {**own, **null}, {"names": list(part.names), "bars": part.bars}
    sample = part.sample.astype(np.float16)
    own = {"edges": part.edges, "sample": sample, "sample_piece": part.sample_piece}
    return {**own, **null}, {}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any]) -> Reference:
    """Read what `to_arrays` gave.

    Raises
    ------
    ValueError
        If it is of another format, or something is missing or does not fit.
    """
    if about.get("format") != FORMAT:
        raise ValueError(f"the drift reference has format {about.get('format')}, not {FORMAT}")
    try:
        return _read(arrays, about)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the drift reference lacks {error}") from error


def _read(arrays: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any]) -> Reference:
    window = int(about["window_bars"])

    def own(group: str) -> Arrays:
        start = f"{group}/"
        return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}

    def spread(group: str) -> Spread | None:
        if group not in about:
            return None
        names = tuple(about[group]["names"])
        return spread_from(own(group), names, int(about[group]["bars"]), window)

    def stream(group: str) -> Stream | None:
        if group not in about:
            return None
        found, told = own(group), about[group]
        means, deviations = found["means"], found["deviations"]
        bars, names = int(told["bars"]), tuple(told["names"])
        return Stream(names, means, deviations, bars, window, _null(found))

    def classifier() -> Classifier | None:
        if "joint" not in about:
            return None
        found = own("joint")
        sample = found["sample"].astype(np.float32)
        return Classifier(found["edges"], sample, found["sample_piece"], window, _null(found))

    def pulse() -> Pulse | None:
        if PULSE not in about:
            return None
        found, told = own(PULSE), about[PULSE]
        return pulse_from(found, tuple(told["names"]), float(told["cells"]))

    return Reference(
        window_bars=window,
        features=spread("features"),
        joint=classifier(),
        predictions=spread("predictions"),
        outcomes=stream("outcomes"),
        estimated=stream("estimated"),
        pulse=pulse(),
        missing=_missing(about),
    )


def _missing(about: Mapping[str, Any]) -> dict[str, str]:
    told = dict(about["missing"])
    if PULSE not in about and PULSE not in told:
        told[PULSE] = (
            "the reference was logged before there was a pulse; the next training brings one"
        )
    return told


def _null(arrays: Arrays) -> Null:
    own = {k.removeprefix("null."): v for k, v in arrays.items() if k.startswith("null.")}
    return Null.from_arrays(own)
