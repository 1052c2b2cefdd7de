"""How a feature behaves before its window is full: what half, all and twice its lookback give."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from features.matrix import compute
from features.proof import scale_of, values_of
from features.registry import Feature


@dataclass(frozen=True)
class WarmUp:
    """How wrong a feature is when fewer or more bars than its lookback are at hand.

    Parameters
    ----------
    feature : str
    lookback : int
        Bars declared.
    error : mapping of float to float
        Share of the lookback at hand to the largest distance from the value of the full history,
        over the larger of that value and the column's median absolute value; NaN where no value is to
        be compared.
    missing : mapping of float to float
        The same to the share of values that are null though the full history gives one.
    """

    feature: str
    lookback: int
    error: dict[float, float]
    missing: dict[float, float]


def warm_up(
    features: Sequence[Feature],
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    instants: Sequence[datetime],
    shares: Sequence[float] = (0.5, 1.0, 2.0),
) -> list[WarmUp]:
    """Measure every feature on `shares` of its lookback, at `instants`, over all symbols."""
    whole = compute(bars, features, timeframe=timeframe)
    scale = {one.name: scale_of(values_of(whole[one.name])) for one in features}
    held: dict[str, dict[float, list[npt.NDArray[np.float64]]]] = {
        one.name: {share: [] for share in shares} for one in features
    }
    for lookback in sorted({one.lookback for one in features}):
        group = [one for one in features if one.lookback == lookback]
        for share, instant in product(shares, instants):
            now = pl.col("known_at") == instant
            begin = instant - max(1, round(share * lookback)) * timeframe
            recent = bars.filter((pl.col("known_at") > begin) & (pl.col("known_at") <= instant))
            given = compute(recent, group, timeframe=timeframe).filter(now)
            expected = whole.filter(now)
            for one in group:
                want, have = values_of(expected[one.name]), values_of(given[one.name])
                held[one.name][share].append(np.stack([want, have]))
    return [_warmth(one, held[one.name], scale[one.name]) for one in features]


def _warmth(one: Feature, held: dict[float, list[npt.NDArray[np.float64]]], scale: float) -> WarmUp:
    error, missing = {}, {}
    for share, pieces in held.items():
        want, have = np.concatenate(pieces, axis=1)
        present = np.isfinite(want)
        both = present & np.isfinite(have)
        far = np.abs(have - want)[both] / np.maximum(np.maximum(np.abs(want[both]), scale), 1e-12)
        error[share] = float(far.max()) if far.size else float("nan")
        missing[share] = float(1 - both.sum() / present.sum()) if present.any() else float("nan")
    return WarmUp(one.name, one.lookback, error, missing)
