"""How often what was given a probability came true."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.intervals import Interval, bootstrap_interval, per_instant, resampled_means
from evaluation.reliability.scored import (
    BINS,
    Floats,
    filled_bins,
    instants_of,
    known_rows,
)

EVENTS = ("likeliest", "down", "flat", "up")
"""What a probability can be of: the class that was thought likeliest came true, or one of the three did."""

_NOISE_PATHS = 500


@dataclass(frozen=True)
class CalibrationCurve:
    """How often what was given a probability came true.

    Attributes
    ----------
    event : str
        One of `EVENTS`.
    curve : polars.DataFrame
        `predicted` (mean), `observed` (share that came true), `rows` of each bin.
    error : Interval
        Expected calibration error: mean over rows of |observed - predicted| of the row's bin, in
        [0, 1]. Noise alone makes it positive, and more so when resampled: the interval is the
        mirrored one, cut at zero.
    noise : float
        The error that honest probabilities would be expected to show on as many rows, the memory of
        the outcomes included. An `error` of about that size says nothing against them.
    """

    event: str
    curve: pl.DataFrame = field(repr=False)
    error: Interval
    noise: float

    def as_json(self) -> dict[str, Any]:
        """Return the curve and the error as plain JSON types."""
        return {
            "event": self.event,
            "curve": self.curve.to_dicts(),
            "error": self.error.as_json(),
            "noise": self.noise,
        }


def calibration_curve(
    scored: pl.DataFrame, event: str = "likeliest", *, bins: int = BINS, **how: Any
) -> CalibrationCurve:
    """Return the calibration curve of one event, with its expected calibration error.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    event : str
        One of `EVENTS`.
    bins : int
        Equally filled bins; ties stay together, so there may be fewer.
    **how
        `level`, `paths`, `seed`, `block_bars`, `shortest_block` of
        `evaluation.intervals.bootstrap_interval`.

    Raises
    ------
    ValueError
        If no outcome is known or the event is not known.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
    binning; Guo et al. (2017), On calibration of modern neural networks (the likeliest class).
    """
    known, proba, outcome = known_rows(scored)
    predicted, hit = _event(proba, outcome, event)
    one_hot = np.eye(bins)[filled_bins(predicted, bins)]
    one_hot = one_hot[:, one_hot.any(axis=0)]
    columns = [*(one_hot * predicted[:, None]).T, *(one_hot * hit[:, None]).T, *one_hot.T]
    sums = per_instant(instants_of(known), *columns)[:, :-1]
    said, came, rows = np.split(sums.sum(axis=0), 3)
    whole = per_instant(instants_of(known), hit - predicted)[:, 0]
    error = bootstrap_interval(sums, _error, driver=whole, kind="basic", **how)
    curve = pl.DataFrame(
        {"predicted": said / rows, "observed": came / rows, "rows": rows.astype(np.int64)}
    )
    cut = replace(error, lower=max(error.lower, 0.0), upper=max(error.upper, 0.0))
    return CalibrationCurve(event, curve, cut, _noise(sums, error))


def _error(means: Floats) -> Floats:
    said, came, rows = np.split(means, 3, axis=-1)
    error: Floats = np.abs(came - said).sum(axis=-1) / rows.sum(axis=-1)
    return error


def _noise(sums: Floats, error: Interval) -> float:
    """Return the sum of the mean sizes of the bins' errors, normal with the deviations of the paths."""
    means = resampled_means(sums, block_bars=error.block_bars, paths=_NOISE_PATHS, seed=0)
    said, came, rows = np.split(means, 3, axis=-1)
    deviation = (came - said).std(axis=0, ddof=1)
    return float(math.sqrt(2.0 / math.pi) * deviation.sum() / rows[0].sum())


def _event(
    proba: Floats, outcome: npt.NDArray[np.int64], event: str
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if event not in EVENTS:
        raise ValueError(f"event {event!r} is not known; known are {', '.join(EVENTS)}")
    if event == "likeliest":
        return proba.max(axis=1), proba.argmax(axis=1) == outcome
    label = EVENTS.index(event) - 1
    return proba[:, label], outcome == label
