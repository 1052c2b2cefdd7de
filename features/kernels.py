"""Compiled windows over `[symbols, bars]` arrays whose values depend on the window alone.

A running sum that adds the newest bar and subtracts the oldest remembers every bar it ever saw: one
move of size 1e6 leaves its rounding error in all later values, so a value computed from the whole
history would differ from the same value computed from the last few bars. These kernels never
subtract. The bars are cut into blocks of one window each; a window is the end of one block merged
with the beginning of the next (van Herk 1992; Gil and Werman 1993), three merges a bar whatever the
window. The blocks lie on absolute time (`start` is the number of the first bar since 1970), so the
additions are the same, in the same order, wherever the frame begins: the hourly increment equals
the full history to the last bit.

All arrays are float64; NaN is a missing bar and is skipped. A window with fewer than `required`
present bars gives NaN. Bars before the frame count as missing.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Up to so many symbols are ranked by comparing each with each, more by sorting.
FEW = 32
_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile `function` to machine code on first use; the result is cached on disk."""
    return cast(_Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def window_mean(x: Array, start: int, window: int, required: int) -> Array:
    """Return the mean of the present bars of each trailing window."""
    rows, n = x.shape
    out = np.empty_like(x)
    suffix, held = np.empty(n), np.empty(n, np.int64)
    for row in range(rows):
        total, count, place = 0.0, 0, (start + n - 1) % window
        for i in range(n - 1, -1, -1):
            if place == window - 1:
                total, count = 0.0, 0
            value = x[row, i]
            if not np.isnan(value):
                total += value
                count += 1
            suffix[i], held[i] = total, count
            place = place - 1 if place > 0 else window - 1
        total, count, place = 0.0, 0, start % window
        for i in range(n):
            if place == 0:
                total, count = 0.0, 0
            value = x[row, i]
            if not np.isnan(value):
                total += value
                count += 1
            all_total, all_count = total, count
            if place < window - 1 and place < i:
                begin = max(i - window + 1, 0)
                all_total += suffix[begin]
                all_count += held[begin]
            out[row, i] = all_total / all_count if all_count >= required else np.nan
            place = place + 1 if place < window - 1 else 0
    return out


@compiled
def _merge(na: int, mean_a: float, m2_a: float, nb: int, mean_b: float, m2_b: float) -> Any:
    # Chan, Golub and LeVeque 1983: exact for a constant series, stable for any level.
    if na == 0:
        return nb, mean_b, m2_b
    if nb == 0:
        return na, mean_a, m2_a
    n = na + nb
    share = nb / n
    delta = mean_b - mean_a
    return n, mean_a + delta * share, m2_a + m2_b + delta * delta * na * share


@compiled
def window_moments(x: Array, start: int, window: int, required: int) -> tuple[Array, Array]:
    """Return the mean and the sample variance (divisor n - 1) of each trailing window."""
    rows, n = x.shape
    mean_out, var_out = np.empty_like(x), np.empty_like(x)
    held, suffix_mean, suffix_m2 = np.empty(n, np.int64), np.empty(n), np.empty(n)
    for row in range(rows):
        count, mean, m2, place = 0, 0.0, 0.0, (start + n - 1) % window
        for i in range(n - 1, -1, -1):
            if place == window - 1:
                count, mean, m2 = 0, 0.0, 0.0
            value = x[row, i]
            if not np.isnan(value):
                count, mean, m2 = _merge(1, value, 0.0, count, mean, m2)
            held[i], suffix_mean[i], suffix_m2[i] = count, mean, m2
            place = place - 1 if place > 0 else window - 1
        count, mean, m2, place = 0, 0.0, 0.0, start % window
        for i in range(n):
            if place == 0:
                count, mean, m2 = 0, 0.0, 0.0
            value = x[row, i]
            if not np.isnan(value):
                count, mean, m2 = _merge(count, mean, m2, 1, value, 0.0)
            all_count, all_mean, all_m2 = count, mean, m2
            if place < window - 1 and place < i:
                b = max(i - window + 1, 0)
                all_count, all_mean, all_m2 = _merge(
                    held[b], suffix_mean[b], suffix_m2[b], count, mean, m2
                )
            valid = all_count >= required and all_count > 1
            mean_out[row, i] = all_mean if valid else np.nan
            var_out[row, i] = all_m2 / (all_count - 1) if valid else np.nan
            place = place + 1 if place < window - 1 else 0
    return mean_out, var_out


@compiled
def _merge_shape(a: Any, b: Any) -> Any:
    # Pebay 2008, equations 3.1 for the third and fourth central sums.
    na, mean_a, m2_a, m3_a, m4_a = a
    nb, mean_b, m2_b, m3_b, m4_b = b
    if na == 0.0:
        return b
    if nb == 0.0:
        return a
    n = na + nb
    delta = mean_b - mean_a
    step = delta / n
    product = delta * step * na * nb
    m3 = m3_a + m3_b + product * step * (na - nb) + 3 * step * (na * m2_b - nb * m2_a)
    m4 = m4_a + m4_b + product * step * step * (na * na - na * nb + nb * nb)
    m4 += 6 * step * step * (na * na * m2_b + nb * nb * m2_a) + 4 * step * (na * m3_b - nb * m3_a)
    return n, mean_a + step * nb, m2_a + m2_b + product, m3, m4


@compiled
def window_shape(x: Array, start: int, window: int, required: int) -> tuple[Array, Array]:
    """Return the skewness and the excess kurtosis (population moments) of each trailing window."""
    rows, n = x.shape
    skew_out, kurtosis_out = np.empty_like(x), np.empty_like(x)
    empty = (0.0, 0.0, 0.0, 0.0, 0.0)
    suffix = np.empty((n, 5))
    for row in range(rows):
        state, place = empty, (start + n - 1) % window
        for i in range(n - 1, -1, -1):
            if place == window - 1:
                state = empty
            value = x[row, i]
            if not np.isnan(value):
                state = _merge_shape((1.0, value, 0.0, 0.0, 0.0), state)
            for k in range(5):
                suffix[i, k] = state[k]
            place = place - 1 if place > 0 else window - 1
        state, place = empty, start % window
        for i in range(n):
            if place == 0:
                state = empty
            value = x[row, i]
            if not np.isnan(value):
                state = _merge_shape(state, (1.0, value, 0.0, 0.0, 0.0))
            full = state
            if place < window - 1 and place < i:
                s = suffix[max(i - window + 1, 0)]
                full = _merge_shape((s[0], s[1], s[2], s[3], s[4]), state)
            valid = full[0] >= required and full[2] > 0
            skew_out[row, i] = np.sqrt(full[0]) * full[3] / full[2] ** 1.5 if valid else np.nan
            kurtosis_out[row, i] = full[0] * full[4] / full[2] ** 2 - 3 if valid else np.nan
            place = place + 1 if place < window - 1 else 0
    return skew_out, kurtosis_out


@compiled
def _merge_pair(a: Any, b: Any) -> Any:
    na, mx_a, my_a, vx_a, vy_a, c_a = a
    nb, mx_b, my_b, vx_b, vy_b, c_b = b
    if na == 0.0:
        return b
    if nb == 0.0:
        return a
    share = nb / (na + nb)
    dx, dy, weight = mx_b - mx_a, my_b - my_a, na * share
    return (
        na + nb,
        mx_a + dx * share,
        my_a + dy * share,
        vx_a + vx_b + dx * dx * weight,
        vy_a + vy_b + dy * dy * weight,
        c_a + c_b + dx * dy * weight,
    )


@compiled
def window_covariance(
    x: Array, y: Array, start: int, window: int, required: int
) -> tuple[Array, Array, Array]:
    """Return cov(x, y), var(x), var(y) (divisor n - 1) over the bars where both are present."""
    rows, n = x.shape
    cov_out, var_x_out, var_y_out = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    empty = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    suffix = np.empty((n, 6))
    for row in range(rows):
        state, place = empty, (start + n - 1) % window
        for i in range(n - 1, -1, -1):
            if place == window - 1:
                state = empty
            u, v = x[row, i], y[row, i]
            if not (np.isnan(u) or np.isnan(v)):
                state = _merge_pair((1.0, u, v, 0.0, 0.0, 0.0), state)
            for k in range(6):
                suffix[i, k] = state[k]
            place = place - 1 if place > 0 else window - 1
        state, place = empty, start % window
        for i in range(n):
            if place == 0:
                state = empty
            u, v = x[row, i], y[row, i]
            if not (np.isnan(u) or np.isnan(v)):
                state = _merge_pair(state, (1.0, u, v, 0.0, 0.0, 0.0))
            full = state
            if place < window - 1 and place < i:
                s = suffix[max(i - window + 1, 0)]
                full = _merge_pair((s[0], s[1], s[2], s[3], s[4], s[5]), state)
            valid = full[0] >= required and full[0] > 1
            scale = 1 / (full[0] - 1) if valid else np.nan
            cov_out[row, i] = full[5] * scale
            var_x_out[row, i] = full[3] * scale
            var_y_out[row, i] = full[4] * scale
            place = place + 1 if place < window - 1 else 0
    return cov_out, var_x_out, var_y_out


@compiled
def window_max(x: Array, start: int, window: int, required: int) -> tuple[Array, Array]:
    """Return the maximum of each trailing window and how many bars ago it last occurred."""
    rows, n = x.shape
    out, age_out = np.empty_like(x), np.empty_like(x)
    suffix, where = np.empty(n), np.empty(n, np.int64)
    held = np.empty(n, np.int64)
    for row in range(rows):
        best, at, count, place = -np.inf, 0, 0, (start + n - 1) % window
        for i in range(n - 1, -1, -1):
            if place == window - 1:
                best, count = -np.inf, 0
            value = x[row, i]
            if not np.isnan(value):
                count += 1
                if value > best:
                    best, at = value, i
            suffix[i], where[i], held[i] = best, at, count
            place = place - 1 if place > 0 else window - 1
        best, at, count, place = -np.inf, 0, 0, start % window
        for i in range(n):
            if place == 0:
                best, count = -np.inf, 0
            value = x[row, i]
            if not np.isnan(value):
                count += 1
                if value >= best:
                    best, at = value, i
            top, top_at, all_count = best, at, count
            if place < window - 1 and place < i:
                b = max(i - window + 1, 0)
                all_count += held[b]
                if held[b] > 0 and suffix[b] > top:
                    top, top_at = suffix[b], where[b]
            valid = all_count >= required and all_count > 0
            out[row, i] = top if valid else np.nan
            age_out[row, i] = i - top_at if valid else np.nan
            place = place + 1 if place < window - 1 else 0
    return out, age_out


@compiled
def window_decayed_mean(x: Array, start: int, window: int, required: int, decay: float) -> Array:
    """Return the mean of each trailing window with weight `decay ** age` on the present bars."""
    rows, n = x.shape
    out = np.empty_like(x)
    power = decay ** np.arange(window + 1)
    suffix, suffix_weight = np.empty(n), np.empty(n)
    held = np.empty(n, np.int64)
    for row in range(rows):
        total, weight, count, place = 0.0, 0.0, 0, (start + n - 1) % window
        for i in range(n - 1, -1, -1):
            if place == window - 1:
                total, weight, count = 0.0, 0.0, 0
            value = x[row, i]
            if not np.isnan(value):
                total += power[window - 1 - place] * value
                weight += power[window - 1 - place]
                count += 1
            suffix[i], suffix_weight[i], held[i] = total, weight, count
            place = place - 1 if place > 0 else window - 1
        total, weight, count, place = 0.0, 0.0, 0, start % window
        for i in range(n):
            if place == 0:
                total, weight, count = 0.0, 0.0, 0
            total, weight = total * decay, weight * decay
            value = x[row, i]
            if not np.isnan(value):
                total, weight, count = total + value, weight + 1.0, count + 1
            all_total, all_weight, all_count = total, weight, count
            if place < window - 1 and place < i:
                b = max(i - window + 1, 0)
                all_total += power[place + 1] * suffix[b]
                all_weight += power[place + 1] * suffix_weight[b]
                all_count += held[b]
            out[row, i] = all_total / all_weight if all_count >= required else np.nan
            place = place + 1 if place < window - 1 else 0
    return out


@compiled
def window_deviation(x: Array, mean: Array, window: int, required: int) -> Array:
    """Return the mean absolute distance of each trailing window's bars from `mean` at its end."""
    rows, n = x.shape
    out = np.full_like(x, np.nan)
    for row in range(rows):
        for i in range(n):
            total, count = 0.0, 0
            for j in range(max(i - window + 1, 0), i + 1):
                if not np.isnan(x[row, j]):
                    total += abs(x[row, j] - mean[row, i])
                    count += 1
            if count >= required:
                out[row, i] = total / count
    return out


@compiled
def window_weighted_sum(x: Array, weights: Array) -> Array:
    """Return the sum of `weights[age] * x` of each trailing window; NaN where a bar is missing."""
    rows, n = x.shape
    out = np.full_like(x, np.nan)
    for row in range(rows):
        for i in range(weights.size - 1, n):
            out[row, i] = 0.0
        # Ages outside, bars inside: neighbouring bars are worked on together.
        for age in range(weights.size):
            for i in range(weights.size - 1, n):
                out[row, i] += weights[age] * x[row, i - age]
    return out


@compiled
def window_share_below(x: Array, level: Array, weight: Array, window: int) -> Array:
    """Return the share of the window's `weight` that stands at bars with `x` below `level` now.

    Missing bars weigh nothing; NaN where nothing weighs or `level` is missing.
    """
    rows, n = x.shape
    out = np.full_like(x, np.nan)
    below, total, held = np.empty(n), np.empty(n), np.empty(n)
    for row in range(rows):
        for i in range(n):
            held[i] = 0.0 if np.isnan(x[row, i] + weight[row, i]) else weight[row, i]
            below[i], total[i] = 0.0, 0.0
        # Ages outside, bars inside: neighbouring bars are worked on together.
        for age in range(window):
            for i in range(age, n):
                total[i] += held[i - age]
                below[i] += held[i - age] if x[row, i - age] < level[row, i] else 0.0
        for i in range(n):
            if total[i] > 0 and not np.isnan(level[row, i]):
                out[row, i] = below[i] / total[i]
    return out


@compiled
def rank_across(x: Array) -> Array:
    """Return each symbol's rank at its instant, 0 lowest to 1 highest, ties averaged.

    NaN where the symbol is absent or where fewer than two symbols are present.
    """
    rows, n = x.shape
    out = np.full_like(x, np.nan)
    present, where = np.empty(rows), np.empty(rows, np.int64)
    for i in range(n):
        count = 0
        for row in range(rows):
            if not np.isnan(x[row, i]):
                present[count], where[count] = x[row, i], row
                count += 1
        if count < 2:
            continue
        ordered = np.sort(present[:count]) if count > FEW else present[:0]
        for a in range(count):
            # Twice the values below, and once the equal ones, itself included.
            place = 0
            if count > FEW:
                place += np.searchsorted(ordered, present[a], side="left")
                place += np.searchsorted(ordered, present[a], side="right")
            else:
                for b in range(count):
                    place += (present[b] < present[a]) + (present[b] <= present[a])
            out[where[a], i] = 0.5 * (place - 1) / (count - 1)
    return out


@compiled
def gather_finite(
    flat: Array, position: npt.NDArray[np.int64], out: npt.NDArray[np.float32]
) -> None:
    """Write `flat[position]` into `out` as float32; what is not finite there becomes NaN."""
    for i in range(position.size):
        value = np.float32(flat[position[i]])
        out[i] = value if np.isfinite(value) else np.float32(np.nan)
