"""Training samples in the form that sequence models share: scaled once, split once, cut into batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serving.observations import Observations
from serving.sequences.scaling import RobustScaling
from serving.sequences.segments import SegmentIndex
from training.errors import TooLittleData
from training.samples import Samples
from training.sequences import CONTEXT_LIMIT

Rows = npt.NDArray[np.int64]

TAIL_SHARE = 0.15
"""Last share of the training time: a fit is stopped by it and does not learn from it."""

STEPS_AN_EPOCH = 8
"""Batches are made smaller until an epoch has so many, however little there is to learn from."""

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Batch:
    """Segments with what is learned from them.

    Parameters
    ----------
    scaled : Tensor, shape (s, context - 1 + n, k + 1)
        Scaled rows, 0 where there is no bar.
    present : Tensor, shape (s, context - 1 + n)
        1 where there is a bar, else 0.
    y, weight : Tensor, shape (s, n)
        Class and weight; the weight is 0 where nothing is learned.
    """

    scaled: Tensor
    present: Tensor
    y: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Cut:
    """How samples are cut into batches: `at_once` segments of `length` answered bars each."""

    context: int
    length: int
    at_once: int


@dataclass(frozen=True)
class Prepared:
    """Scaled rows with their labels; nothing of it depends on a model's parameters.

    Parameters
    ----------
    scaled : Tensor, shape (m + 1, k + 1)
        The learned rows and what stands up to `CONTEXT_LIMIT` bars before one; the last row is 0 and
        stands for absent bars.
    index : SegmentIndex
        Of the first m.
    scaling : RobustScaling
        Statistics of the samples of `fit` alone.
    rows : array of int64, shape (n,)
        Row number in `scaled` of each sample.
    y : Tensor of int64, shape (n,)
    weight : Tensor of float32, shape (n,)
    fit, tail : arrays of int64
        Samples that are learned from, and the last in time, by which the fit is stopped.
    """

    scaled: Tensor
    index: SegmentIndex
    scaling: RobustScaling
    rows: Rows
    y: Tensor
    weight: Tensor
    fit: Rows
    tail: Rows

    def batches(
        self, places: Rows, cut: Cut, rng: np.random.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield every sample of `places` once.

        With `rng` the borders and the order of the segments are drawn; without, they are always the
        same.
        """
        shift = int(rng.integers(cut.length)) if rng else 0
        laid = self.index.lay_out(self.rows[places], cut.context, longest=cut.length, shift=shift)
        n = laid.rows.shape[1] - cut.context + 1
        y = torch.zeros(len(laid.rows), n, dtype=torch.int64)
        weight = torch.zeros(len(laid.rows), n)
        at = torch.from_numpy(laid.segment), torch.from_numpy(laid.offset)
        y[at], weight[at] = self.y[places], self.weight[places]
        order = rng.permutation(len(laid.rows)) if rng else np.arange(len(laid.rows))
        at_once = max(1, min(cut.at_once, order.size // STEPS_AN_EPOCH))
        for start in range(0, order.size, at_once):
            chosen = torch.from_numpy(order[start : start + at_once])
            held = torch.from_numpy(laid.rows)[chosen]
            yield Batch(self.scaled[held], (held >= 0).float(), y[chosen], weight[chosen])


def prepare(samples: Samples) -> Prepared:
    """Split, scale and index samples.

    Raises
    ------
    ValueError
        If the last `TAIL_SHARE` of the time cannot be spared for early stopping.
    """
    observations = samples.observations
    fit, tail = tail_split(samples)
    scaling = RobustScaling.of(observations.X[observations.rows[fit]])
    kept = _kept(observations)
    scaled = torch.zeros(kept.size + 1, observations.X.shape[1] + 1)
    scaled[:-1] = torch.from_numpy(scaling.apply(observations.X[kept]))
    return Prepared(
        scaled=scaled,
        index=SegmentIndex(observations.symbol[kept], observations.bar[kept]),
        scaling=scaling,
        rows=np.searchsorted(kept, observations.rows),
        y=torch.from_numpy(samples.y.astype(np.int64)),
        weight=torch.from_numpy(samples.weight.astype(np.float32)),
        fit=fit,
        tail=tail,
    )


def tail_split(samples: Samples) -> tuple[Rows, Rows]:
    """Return the samples to learn from and those of the last `TAIL_SHARE` of the training time.

    What is learned from had ended an embargo before the tail begins.
    """
    first, last = int(samples.known_at.min()), int(samples.known_at.max())
    begin = last - int((last - first) * TAIL_SHARE)
    tail = np.flatnonzero(samples.known_at >= begin)
    fit = np.flatnonzero(samples.label_end + samples.embargo // _MICROSECOND < begin)
    if fit.size == 0 or last == first:
        raise TooLittleData(
            f"{samples.y.size} samples over {(last - first) / 3.6e9:.0f} hours leave none to learn "
            f"from before the last {TAIL_SHARE:.0%} of the time, purged, with an embargo of "
            f"{samples.embargo}; give the model a longer history"
        )
    return fit, tail


def _kept(observations: Observations) -> Rows:
    """Rows that a learned row may look at: its own and the `CONTEXT_LIMIT` bars up to it."""
    index = SegmentIndex(observations.symbol, observations.bar)
    return index.lay_out(observations.rows, CONTEXT_LIMIT, longest=CONTEXT_LIMIT).seen
