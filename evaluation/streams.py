"""Random numbers of the compiled bootstraps: a stream a path, the same whatever the threads.

SplitMix64 (Steele, Lea and Flood 2014): a counter that steps by `GAMMA`, and an output function. A
path's stream is a function of the seed and the path's number.
"""

import numpy as np

from serving.compiled import compiled

GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3, _TO_53_BITS = (
    np.uint64(30),
    np.uint64(27),
    np.uint64(31),
    np.uint64(11),
)
_UNIT = 2.0**-53


@compiled
def mixed(state: np.uint64) -> np.uint64:
    """Return the output of a state: 64 random bits."""
    z = (state ^ (state >> _SHIFT_1)) * _MIX_1
    z = (z ^ (z >> _SHIFT_2)) * _MIX_2
    return z ^ (z >> _SHIFT_3)


@compiled
def unit(bits: np.uint64) -> float:
    """Return the upper 53 of 64 random bits as a number in [0, 1)."""
    return float(bits >> _TO_53_BITS) * _UNIT


@compiled
def stream(seed: int, path: int) -> np.uint64:
    """Return the state before the first step of a path's stream."""
    return mixed(mixed(np.uint64(seed) + GAMMA) + np.uint64(path) * GAMMA)


@compiled
def next_place(state: np.uint64, place: int, first: bool, ends: float, n: int) -> int:
    """Return the row a stationary bootstrap takes next, of `n` rows in a circle.

    A block goes on, or with probability `ends` (certainly for the first row) a new one begins
    anywhere. Below that probability the draw is uniform again: one number says whether and where.
    """
    drawn = unit(mixed(state))
    probability = 1.0 if first else ends
    if drawn < probability:
        return min(int(drawn / probability * n), n - 1)
    return place + 1 if place + 1 < n else 0
