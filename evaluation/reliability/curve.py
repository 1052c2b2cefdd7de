"""How often what was given a probability came true."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.intervals import Interval, bootstrap_interval, per_instant
from evaluation.reliability.scored import (
    BINS,
    Floats,
    filled_bins,
    instants_of,
    known_rows,
)

EVENTS = ("likeliest", "down", "flat", "up")
"""What a probability can be of: the class that was thought likeliest came true, or one of the three did."""


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
    """

    event: str
    curve: pl.DataFrame = field(repr=False)
    error: Interval

    def as_json(self) -> dict[str, Any]:
        """Return the curve and the error as plain JSON types."""
        return {
            "event": self.event,
            "curve": self.curve.to_dicts(),
            "error": self.error.as_json(),
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
    place = filled_bins(predicted, bins)
    count = int(place.max()) + 1
    one_hot = np.eye(count)[place]
    columns = [*(one_hot * predicted[:, None]).T, *(one_hot * hit[:, None]).T, *one_hot.T]
    sums = per_instant(instants_of(known), *columns)[:, :-1]

    def error_of(means: Floats) -> Floats:
        said, came, rows = np.split(means, 3, axis=-1)
        error: Floats = np.abs(came - said).sum(axis=-1) / rows.sum(axis=-1)
        return error

    said, came, rows = np.split(sums.sum(axis=0), 3)
    driver = sums[:, count : 2 * count].sum(axis=1) - sums[:, :count].sum(axis=1)
    mirrored = bootstrap_interval(sums, error_of, driver=driver, kind="basic", **how)
    error = Interval(
        **{
            **mirrored.as_json(),
            "lower": max(mirrored.lower, 0.0),
            "upper": max(mirrored.upper, 0.0),
        }
    )
    curve = pl.DataFrame(
        {"predicted": said / rows, "observed": came / rows, "rows": rows.astype(np.int64)}
    )
    return CalibrationCurve(event, curve, error)


def _event(
    proba: Floats, outcome: npt.NDArray[np.int64], event: str
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if event not in EVENTS:
        raise ValueError(f"event {event!r} is not known; known are {', '.join(EVENTS)}")
    if event == "likeliest":
        return proba.max(axis=1), proba.argmax(axis=1) == outcome
    label = EVENTS.index(event) - 1
    return proba[:, label], outcome == label
