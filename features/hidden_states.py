"""A hidden Markov model of returns, fitted inside a bounded past and filtered forward only.

Three states with a mean and a deviation each (Hamilton 1989; Rydén, Teräsvirta and Åsbrink 1998). Time is
cut into blocks of `block` bars from 1970 on. For a block the parameters are estimated by a fixed number of
steps of Baum and Welch (1970) on the two blocks before it, from start values that are multiples of that
window's own deviation; they then stand still, and the probabilities in the block are those of the
forward filter, run on from the fitting window: what was believed at that instant, never the smoothed
probability that knows what came after. So a value is a function of at most three blocks of returns.

States are numbered by deviation: calm, usual, storm. A missing bar lets the chain move without news.
"""

import numpy as np

from features.kernels import Array, compiled

COVERAGE = 0.95
STATES = 3
STEPS = 4
# Start: deviations in units of the window's, and the probability to stay.
START_SCALE = np.array([0.5, 1.0, 2.0])
START_STAY = 0.95
# A state may not shrink to one return, and a transition may not become impossible.
LEAST_SCALE = 0.1
LEAST_SHARE = 1e-3


def state_window(block: int) -> int:
    """Return the bars of prices, the newest included, that a state of `block` looks at."""
    return 3 * block + 1


@compiled
def filter_states(r: Array, start: int, block: int) -> tuple[Array, Array, Array, Array]:
    """Return filtered state probabilities and what they say of the next bar.

    Parameters
    ----------
    r : float64 array [symbols, bars]
        Returns, NaN where missing.
    start : int
        Number of the first bar since 1970.
    block : int
        Bars between two fits; a fit looks at the two blocks before.

    Returns
    -------
    calm, storm : float64 arrays [symbols, bars]
        Probability of the state of the lowest and of the highest deviation.
    leaving : float64 array [symbols, bars]
        Probability that the next bar is in another state than this one.
    drift : float64 array [symbols, bars]
        Expected return of the next bar over the deviation expected of it.
    """
    rows, n = r.shape
    calm, storm = np.full_like(r, np.nan), np.full_like(r, np.nan)
    leaving, drift = np.full_like(r, np.nan), np.full_like(r, np.nan)
    mean, spread, log_spread = np.empty(STATES), np.empty(STATES), np.empty(STATES)
    move, belief = np.empty((STATES, STATES)), np.empty(STATES)
    density, following = np.empty(STATES), np.empty(STATES)
    for row in range(rows):
        for first in range(-(start % block) + 2 * block, n, block):
            begin = max(first - 2 * block, 0)
            past = r[row, begin:first]
            scale = _deviation(past, COVERAGE * 2 * block)
            if np.isnan(scale):
                continue
            _fit(past, scale, mean, spread, move)
            count = 0
            for k in range(STATES):
                log_spread[k], belief[k] = np.log(spread[k]), 1 / STATES
            for i in range(begin, min(first + block, n)):
                _moved(belief, move, following)
                _weigh(r[row, i], mean, spread, log_spread, density)
                _conditioned(following, density, belief)
                count += not np.isnan(r[row, i])
                if i < first or count < COVERAGE * (i - first + 2 * block + 1):
                    continue
                _moved(belief, move, following)
                calm[row, i], storm[row, i] = belief[0], belief[STATES - 1]
                stay, expected, square = 0.0, 0.0, 0.0
                for k in range(STATES):
                    stay += belief[k] * move[k, k]
                    expected += following[k] * mean[k]
                    square += following[k] * (spread[k] ** 2 + mean[k] ** 2)
                leaving[row, i] = 1 - stay
                drift[row, i] = expected / np.sqrt(square - expected**2)
    return calm, storm, leaving, drift


@compiled
def _moved(belief: Array, move: Array, out: Array) -> None:
    """Write the probabilities of the states a bar later."""
    for k in range(STATES):
        out[k] = 0.0
        for j in range(STATES):
            out[k] += belief[j] * move[j, k]


@compiled
def _weigh(value: float, mean: Array, spread: Array, log_spread: Array, out: Array) -> None:
    """Write the density of `value` in each state, over the largest; one where it is missing."""
    for k in range(STATES):
        out[k] = -0.5 * ((value - mean[k]) / spread[k]) ** 2 - log_spread[k]
    # The most likely state has density one, whatever the return: nothing underflows.
    most = max(out[0], out[1], out[2])
    for k in range(STATES):
        out[k] = 1.0 if np.isnan(value) or out[k] == most else np.exp(out[k] - most)


@compiled
def _conditioned(prior: Array, density: Array, out: Array) -> None:
    """Write the product of prior and density, summing to one."""
    total = 0.0
    for k in range(STATES):
        out[k] = prior[k] * density[k]
        total += out[k]
    for k in range(STATES):
        out[k] /= total


@compiled
def _deviation(r: Array, required: float) -> float:
    total, count = 0.0, 0
    for value in r:
        if not np.isnan(value):
            total, count = total + value * value, count + 1
    return np.sqrt(total / count) if count >= required and total > 0 else np.nan


@compiled
def _fit(r: Array, scale: float, mean: Array, spread: Array, move: Array) -> None:
    """Write means, deviations and transitions of the states, in order of deviation."""
    for k in range(STATES):
        mean[k], spread[k] = 0.0, START_SCALE[k] * scale
        for j in range(STATES):
            move[k, j] = START_STAY if j == k else (1 - START_STAY) / (STATES - 1)
    for _ in range(STEPS):
        weight, joint = _smoothed(r, mean, spread, move)
        _maximise(r, weight, joint, scale, mean, spread, move)
    for last in range(STATES - 1, 0, -1):
        for k in range(last):
            if spread[k] > spread[k + 1]:
                _swap(k, k + 1, mean, spread, move)


@compiled
def _swap(a: int, b: int, mean: Array, spread: Array, move: Array) -> None:
    mean[a], mean[b] = mean[b], mean[a]
    spread[a], spread[b] = spread[b], spread[a]
    for k in range(STATES):
        move[a, k], move[b, k] = move[b, k], move[a, k]
    for k in range(STATES):
        move[k, a], move[k, b] = move[k, b], move[k, a]


@compiled
def _smoothed(r: Array, mean: Array, spread: Array, move: Array) -> tuple[Array, Array]:
    """Return the probability of each state at each bar given all of `r`, and the expected moves."""
    n = r.size
    forward, density = np.empty((n, STATES)), np.empty((n, STATES))
    belief, prior, log_spread = np.empty(STATES), np.empty(STATES), np.empty(STATES)
    for k in range(STATES):
        log_spread[k], belief[k] = np.log(spread[k]), 1 / STATES
    for i in range(n):
        _weigh(r[i], mean, spread, log_spread, density[i])
        _moved(belief, move, prior)
        _conditioned(prior, density[i], belief)
        for k in range(STATES):
            forward[i, k] = belief[k]
    joint, backward, ahead = np.zeros((STATES, STATES)), np.ones(STATES), np.empty(STATES)
    for i in range(n - 2, -1, -1):
        total = 0.0
        for k in range(STATES):
            ahead[k] = density[i + 1, k] * backward[k]
        for j in range(STATES):
            backward[j] = 0.0
            for k in range(STATES):
                backward[j] += move[j, k] * ahead[k]
            total += forward[i, j] * backward[j]
        for j in range(STATES):
            for k in range(STATES):
                joint[j, k] += forward[i, j] * move[j, k] * ahead[k] / total
        # Scaled so that neither vanishes: with the forward probabilities it sums to one.
        for j in range(STATES):
            backward[j] /= total
            forward[i, j] *= backward[j]
    return forward, joint


@compiled
def _maximise(
    r: Array, weight: Array, joint: Array, scale: float, mean: Array, spread: Array, move: Array
) -> None:
    """Write the most likely parameters given the probabilities of the states."""
    for k in range(STATES):
        total, first, second = 0.0, 0.0, 0.0
        for i in range(r.size):
            if not np.isnan(r[i]):
                total += weight[i, k]
                first += weight[i, k] * r[i]
        if total > LEAST_SHARE * r.size:
            mean[k] = first / total
            for i in range(r.size):
                if not np.isnan(r[i]):
                    second += weight[i, k] * (r[i] - mean[k]) ** 2
            spread[k] = max(np.sqrt(second / total), LEAST_SCALE * scale)
        row = 0.0
        for j in range(STATES):
            row += joint[k, j]
        for j in range(STATES):
            share = joint[k, j] / row if row > 0 else move[k, j]
            move[k, j] = (share + LEAST_SHARE) / (1 + STATES * LEAST_SHARE)
