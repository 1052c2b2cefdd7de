"""The training loop of sequence models: early stopping, a learning rate that rises and falls."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serving.sequences.temporal import Noise, TemporalNet
from training.sequences.loss import focal_loss
from training.sequences.windows import Batch, Cut, Prepared

_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Learning:
    """How a network learns.

    Parameters
    ----------
    epochs : int
        Passes over the samples at most; the learning rate falls to 0 over them.
    patience : int
        Passes without a better loss on the tail after which learning stops.
    learning_rate : float
        Its height after the warm-up.
    warm_up : float
        Share of the epochs over which it rises, in (0, 1).
    weight_decay : float
        Of AdamW, on weights and not on biases.
    dropout, feature_dropout : float
        Share of the network's channels, and of the features, that is silenced in a segment.
    focal_gamma : float
        See `training.sequences.loss.focal_loss`.
    mixup_alpha : float
        Segments are mixed in pairs, by a share drawn from Beta(alpha, alpha) for every batch; 0 mixes
        nothing. Source: H. Zhang et al., *mixup: Beyond Empirical Risk Minimization* (2018).
    """

    epochs: int
    patience: int
    learning_rate: float
    warm_up: float
    weight_decay: float
    dropout: float
    feature_dropout: float
    focal_gamma: float
    mixup_alpha: float

    def rate(self, progress: float) -> float:
        """Return the learning rate at a share of all epochs: a line up, then half a cosine down."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        fallen = (progress - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * (1 + math.cos(math.pi * fallen)) / 2


def learn(
    net: TemporalNet, prepared: Prepared, cut: Cut, learning: Learning, *, seed: int
) -> list[float]:
    """Fit `net` to the samples of `prepared.fit` and leave in it the weights that did best on the tail.

    Returns
    -------
    list of float
        Log loss on the tail before the first pass and after each that was made.
    """
    student = _Student(net, learning, seed)
    losses, best = [tail_loss(net, prepared, cut)], _weights(net)
    lowest = 0
    for epoch in range(1, learning.epochs + 1):
        student.study(prepared, prepared.fit, cut, epoch)
        losses.append(tail_loss(net, prepared, cut))
        if losses[epoch] < losses[lowest]:
            lowest, best = epoch, _weights(net)
        elif epoch - lowest >= learning.patience:
            break
    net.load_state_dict(best)
    return losses


def relearn(
    net: TemporalNet, prepared: Prepared, cut: Cut, learning: Learning, *, epochs: int, seed: int
) -> None:
    """Fit a fresh `net` to all samples, the tail with them, in the first `epochs` of `learning`."""
    student, every = _Student(net, learning, seed), np.arange(prepared.rows.size)
    for epoch in range(1, epochs + 1):
        student.study(prepared, every, cut, epoch)


class _Student:
    """A network with its optimiser and everything that is drawn while it learns."""

    def __init__(self, net: TemporalNet, learning: Learning, seed: int) -> None:
        self.net, self.learning = net, learning
        self.rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        self.noise = Noise(learning.dropout, learning.feature_dropout, generator)
        weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in net.named_parameters() if not name.endswith("weight")]
        groups = [
            {"params": weights, "weight_decay": learning.weight_decay},
            {"params": biases, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, fused=True)

    def study(
        self, prepared: Prepared, places: npt.NDArray[np.int64], cut: Cut, epoch: int
    ) -> None:
        """Pass once over the samples at `places`, the pass being number `epoch`, from 1."""
        seen = 0
        for batch in prepared.batches(places, cut, self.rng):
            seen += int((batch.weight > 0).sum())
            self.step(batch, (epoch - 1 + seen / places.size) / self.learning.epochs)

    def step(self, batch: Batch, progress: float) -> None:
        """Take one step down the loss of a batch."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning.rate(progress)
        self.optimiser.zero_grad()
        torch.autograd.backward(self._loss(batch))
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), _LARGEST_GRADIENT)
        self.optimiser.step()

    def _loss(self, batch: Batch) -> Tensor:
        gamma, alpha = self.learning.focal_gamma, self.learning.mixup_alpha
        embedded, present = self.net.embed(self.noise.on_features(batch.scaled)), batch.present
        if not alpha:
            logits = self.net(embedded, present, self.noise)
            return focal_loss(logits, batch.y, batch.weight, gamma) / batch.weight.sum()
        kept, partner = float(self.rng.beta(alpha, alpha)), self.rng.permutation(len(batch.y))
        # The projection is linear: to mix what it gives is to mix the features.
        mixed = torch.lerp(embedded[partner], embedded, kept)
        logits = self.net(mixed, torch.lerp(present[partner], present, kept), self.noise)
        own = focal_loss(logits, batch.y, batch.weight, gamma)
        other = focal_loss(logits, batch.y[partner], batch.weight[partner], gamma)
        return torch.lerp(other, own, kept) / batch.weight.sum()


def tail_loss(net: TemporalNet, prepared: Prepared, cut: Cut) -> float:
    """Return the weighted mean log loss on the tail, without dropout or mixture."""
    total = weight = 0.0
    with torch.inference_mode():
        for batch in prepared.batches(prepared.tail, cut):
            logits = net(net.embed(batch.scaled), batch.present)
            total += float(focal_loss(logits, batch.y, batch.weight, 0.0))
            weight += float(batch.weight.sum())
    return total / weight


def gradient_shares(net: TemporalNet, prepared: Prepared, cut: Cut) -> npt.NDArray[np.float64]:
    """Return each feature's share of `|gradient * input|` on the tail, shape (k,); sums to 1, or all 0.

    The gradient is that of the log probability of the likeliest class, and the inputs are scaled: a
    feature counts as much as it moves the answer away from what its median would give.
    """
    total = torch.zeros(prepared.scaled.shape[1], dtype=torch.float64)
    for batch in prepared.batches(prepared.tail, cut):
        scaled = batch.scaled.requires_grad_()
        logits = net(net.embed(scaled), batch.present)
        sure = torch.log_softmax(logits, dim=1).amax(dim=1)[batch.weight > 0].sum()
        (slope,) = torch.autograd.grad(sure, scaled)
        total += (slope * scaled.detach()).abs().sum(dim=(0, 1))
    gains: npt.NDArray[np.float64] = total[:-1].numpy()
    return gains / gains.sum() if gains.any() else gains


def _weights(net: TemporalNet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}
