"""Minutes of an hour, drawn so that they add up to the hour's bar exactly.

Everything is in whole ticks, lots, quote units and trades, so sums carry no rounding. An hour's
minutes are a pure function of the hour's own bar and its generator.
"""

import numpy as np
import numpy.typing as npt

from pipelines.market_simulator.bars import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    QUOTE_VOLUME,
    TAKER_QUOTE,
    TAKER_VOLUME,
    TRADES,
    VOLUME,
)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MINUTES = 60


def minutes_of_hour(hour: Integers, generator: np.random.Generator) -> Integers:
    """Split one hour into sixty minutes.

    Parameters
    ----------
    hour : array [9]
        The hour's bar in whole units, rows as in `bars`; ``low <= open, close <= high``.
    generator : numpy.random.Generator
        The hour's own stream.

    Returns
    -------
    array [9, 60]
        Minutes whose first open, highest high, lowest low, last close and sums are the hour's.
        Each opens where the one before it closed; taker volume is at most the volume.
    """
    minutes = np.empty((9, MINUTES), dtype=np.int64)
    _prices(minutes, hour, generator)
    size = np.abs(minutes[CLOSE] - minutes[OPEN]) + 0.3 * (minutes[HIGH] - minutes[LOW]) + 1e-9
    weights = generator.gamma(2.0, size=MINUTES) * (0.5 + size / size.mean())
    minutes[TRADES] = _split(int(hour[TRADES]), weights)
    minutes[VOLUME] = _split(int(hour[VOLUME]), weights * (minutes[TRADES] > 0))
    typical = minutes[[OPEN, HIGH, LOW, CLOSE]].mean(axis=0)
    minutes[QUOTE_VOLUME] = _split(int(hour[QUOTE_VOLUME]), typical * minutes[VOLUME])
    share = int(hour[TAKER_VOLUME]) / max(1, int(hour[VOLUME]))
    tilt = np.clip(share + 0.1 * generator.standard_normal(MINUTES), 0.0, 1.0)
    minutes[TAKER_VOLUME] = _part(minutes[VOLUME], tilt, int(hour[TAKER_VOLUME]))
    taken = minutes[TAKER_VOLUME] / np.maximum(1, minutes[VOLUME])
    minutes[TAKER_QUOTE] = _part(minutes[QUOTE_VOLUME], taken, int(hour[TAKER_QUOTE]))
    return minutes


def _prices(minutes: Integers, hour: Integers, generator: np.random.Generator) -> None:
    opened, high, low, closed = (int(hour[row]) for row in (OPEN, HIGH, LOW, CLOSE))
    scale = max(1.0, (high - low) / 1.6) / np.sqrt(MINUTES)
    steps = scale * generator.standard_normal(MINUTES)
    walk = np.cumsum(steps)
    passed = np.arange(1, MINUTES + 1) / MINUTES
    path = opened + walk - walk[-1] * passed + (closed - opened) * passed
    closes = np.clip(np.rint(path), low, high).astype(np.int64)
    closes[-1] = closed
    opens = np.concatenate([[opened], closes[:-1]])
    reach = np.abs(generator.standard_normal((2, MINUTES))) * scale * 0.6
    highs = np.rint(np.maximum(opens, closes) + reach[0]).astype(np.int64)
    lows = np.rint(np.minimum(opens, closes) - reach[1]).astype(np.int64)
    minutes[OPEN], minutes[CLOSE] = opens, closes
    minutes[HIGH], minutes[LOW] = np.minimum(highs, high), np.maximum(lows, low)
    minutes[HIGH, np.argmax(highs)] = high
    minutes[LOW, np.argmin(lows)] = low


def _split(total: int, weights: Floats) -> Integers:
    """Split a whole `total` in proportion to `weights` into whole parts that sum to it."""
    share = np.cumsum(weights)
    if total == 0 or share[-1] <= 0:
        parts = np.zeros(len(weights), dtype=np.int64)
        parts[-1] = total
        return parts
    edges = np.floor(total * (share / share[-1])).astype(np.int64)
    edges[-1] = total
    return _steps(edges)


def _part(whole: Integers, share: Floats, total: int) -> Integers:
    """Return whole parts ``0 <= part <= whole`` near ``share * whole`` that sum to `total`."""
    part = np.minimum(np.floor(whole * share).astype(np.int64), whole)
    missing = total - int(part.sum())
    room = whole - part if missing > 0 else part
    capacity = int(room.sum())
    if missing == 0 or capacity == 0:
        return part
    edges = [abs(missing) * done // capacity for done in np.cumsum(room).tolist()]
    change = _steps(np.array(edges, dtype=np.int64))
    return np.asarray(part + change if missing > 0 else part - change)


def _steps(edges: Integers) -> Integers:
    steps = edges.copy()
    steps[1:] -= edges[:-1]
    return steps
