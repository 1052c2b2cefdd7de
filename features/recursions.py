"""Indicators that feed on their own last value, as functions of a bounded number of bars.

Such a recursion never forgets where it began, so its value would depend on the length of the frame.
Here time is cut into blocks of `block` bars from 1970 on, and the value in a block comes from a run that
began with the block before it: between one and two blocks of bars, whatever the frame. Two steps a
bar; the hourly increment equals the full history to the last bit. A missing bar leaves the state as
it is; a value is NaN where fewer than 95 % of the bars of its run are present.

All arrays are float64 `[symbols, bars]`; `start` is the number of the first bar since 1970.
"""

import numpy as np

from features.kernels import Array, compiled

COVERAGE = 0.95


def block_window(block: int) -> int:
    """Return the bars, the newest included, that a run over blocks of `block` bars looks at."""
    return 2 * block


@compiled
def adaptive_mean(
    close: Array, efficiency: Array, start: int, block: int, fast: int, slow: int
) -> Array:
    """Return Kaufman's adaptive mean of `close`: `efficiency` moves it between spans fast and slow."""
    rows, n = close.shape
    out = np.full_like(close, np.nan)
    quick, dull = 2 / (fast + 1), 2 / (slow + 1)
    for row in range(rows):
        for first in range(-(start % block), n, block):
            mean, count = np.nan, 0
            for i in range(max(first - block, 0), min(first + block, n)):
                price, share = close[row, i], efficiency[row, i]
                if np.isnan(price):
                    continue
                count += 1
                if np.isnan(share):
                    continue
                speed = share * (quick - dull) + dull
                mean = price if np.isnan(mean) else mean + speed * speed * (price - mean)
                if i >= first and count >= COVERAGE * (i - first + block + 1):
                    out[row, i] = mean
    return out


@compiled
def super_trend(
    high: Array, low: Array, close: Array, reach: Array, start: int, block: int
) -> Array:
    """Return the line that trails `reach` behind the middle and changes sides when it is crossed."""
    rows, n = close.shape
    out = np.full_like(close, np.nan)
    for row in range(rows):
        for first in range(-(start % block), n, block):
            floor, ceiling, before, rising, count = -np.inf, np.inf, np.nan, True, 0
            for i in range(max(first - block, 0), min(first + block, n)):
                middle = (high[row, i] + low[row, i]) / 2
                if np.isnan(middle + reach[row, i]):
                    continue
                count += 1
                below, above = middle - reach[row, i], middle + reach[row, i]
                floor = max(floor, below) if before > floor else below
                ceiling = min(ceiling, above) if before < ceiling else above
                before = close[row, i]
                if count == 1:
                    rising = before >= middle
                elif rising:
                    rising = before >= floor
                else:
                    rising = before > ceiling
                if i >= first and count >= COVERAGE * (i - first + block + 1):
                    out[row, i] = floor if rising else ceiling
    return out


@compiled
def parabolic_stop(
    high: Array, low: Array, start: int, block: int, step: float, most: float
) -> Array:
    """Return Wilder's parabolic stop: it nears the extreme by `step` more at each new one, to `most`."""
    rows, n = high.shape
    out = np.full_like(high, np.nan)
    for row in range(rows):
        for first in range(-(start % block), n, block):
            stop, extreme, speed, rising, count = 0.0, 0.0, step, True, 0
            top, top_before, bottom, bottom_before = 0.0, 0.0, 0.0, 0.0
            for i in range(max(first - block, 0), min(first + block, n)):
                peak, trough = high[row, i], low[row, i]
                if np.isnan(peak):
                    continue
                count += 1
                if count == 1:
                    stop, extreme = trough, peak
                    top, top_before, bottom, bottom_before = peak, peak, trough, trough
                    continue
                stop += speed * (extreme - stop)
                stop = min(stop, bottom, bottom_before) if rising else max(stop, top, top_before)
                crossed = trough < stop if rising else peak > stop
                further = peak > extreme if rising else trough < extreme
                if crossed:
                    stop = max(extreme, peak) if rising else min(extreme, trough)
                    extreme, speed, rising = trough if rising else peak, step, not rising
                elif further:
                    extreme, speed = peak if rising else trough, min(speed + step, most)
                top_before, bottom_before, top, bottom = top, bottom, peak, trough
                if i >= first and count >= COVERAGE * (i - first + block + 1):
                    out[row, i] = stop
    return out
