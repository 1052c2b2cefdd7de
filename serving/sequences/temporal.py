"""The temporal convolutional network itself, in PyTorch; importing this module imports torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from serving.sequences.architecture import Architecture

# Attention scores lie within +-_SCORE_BOUND, so that their exponentials need no rescaling.
_SCORE_BOUND = 8.0


class Noise:
    """Dropout from a generator of its own, alike at all bars of a segment.

    Parameters
    ----------
    channels, features : float
        Share of the network's channels, and of the inputs, that is silenced.
    generator : torch.Generator
    """

    def __init__(self, channels: float, features: float, generator: torch.Generator) -> None:
        self.channels, self.features, self.generator = channels, features, generator

    def on_channels(self, x: Tensor) -> Tensor:
        """Return x, shape (s, channels, bars), with some of its channels 0 and the others grown."""
        return x * self._draw(x.shape[0], x.shape[1], 1, rate=self.channels)

    def on_features(self, x: Tensor) -> Tensor:
        """Return x, shape (s, bars, features), with some of its features 0 and the others grown."""
        return x * self._draw(x.shape[0], 1, x.shape[2], rate=self.features) if self.features else x

    def _draw(self, *shape: int, rate: float) -> Tensor:
        return (torch.rand(shape, generator=self.generator) >= rate) / (1 - rate)


class TemporalNet(nn.Module):
    """Dilated causal convolutions with residuals, attention over a fixed number of bars, three classes.

    No convolution is padded: a segment of `context_bars - 1 + n` bars gives n answers, each from its
    own `context_bars` bars alone. Weights are not initialised: load them, or call `initialise` of the
    training.

    References
    ----------
    S. Bai, J. Z. Kolter, V. Koltun, *An Empirical Evaluation of Generic Convolutional and Recurrent
    Networks for Sequence Modeling* (2018).
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        wide, levels = shape.channels, range(shape.levels)
        # Made without content, and so without a draw from torch's global generator.
        with torch.device("meta"):
            self.project = nn.Linear(shape.features + 1, wide)
            self.look = nn.ModuleList(
                nn.Conv1d(wide, wide, shape.kernel, dilation=2**i) for i in levels
            )
            self.mix = nn.ModuleList(nn.Conv1d(wide, wide, 1) for _ in levels)
            self.attend = nn.Conv1d(wide, shape.heads, 1)
            self.join = nn.Conv1d(2 * wide, wide, 1)
            self.answer = nn.Conv1d(wide, 3, 1)
        self.to_empty(device="cpu")

    def embed(self, scaled: Tensor) -> Tensor:
        """Return the projection of scaled rows, shape (..., features + 1), to (..., channels)."""
        embedded: Tensor = self.project(scaled)
        return embedded

    def forward(self, embedded: Tensor, present: Tensor, noise: Noise | None = None) -> Tensor:
        """Return logits of down, flat, up.

        Parameters
        ----------
        embedded : Tensor, shape (s, context_bars - 1 + n, channels)
            Embedded bars of s segments, oldest first; 0 where there is no bar.
        present : Tensor, shape (s, context_bars - 1 + n)
            1 where there is a bar, else 0: no attention goes there.
        noise : Noise, optional
            Dropout, when learning.

        Returns
        -------
        Tensor, shape (s, 3, n)
        """
        drop = noise.on_channels if noise else _untouched
        x = drop(embedded.transpose(1, 2).contiguous())
        for look, mix in zip(self.look, self.mix, strict=True):
            seen = drop(torch.relu(look(x)))
            x = x[:, :, -seen.shape[2] :] + mix(seen)
        x = torch.relu(x)
        pooled = self._pool(x, present[:, None, -x.shape[2] :])
        newest = x[:, :, -pooled.shape[2] :]
        joined = torch.relu(self.join(torch.cat((newest, pooled), dim=1)))
        logits: Tensor = self.answer(drop(joined))
        return logits

    def _pool(self, x: Tensor, present: Tensor) -> Tensor:
        segments, wide, bars = x.shape
        heads = self.shape.heads
        score = _SCORE_BOUND * torch.tanh(self.attend(x) / _SCORE_BOUND)
        weight = (torch.exp(score) * present)[:, :, None]
        weighed = weight * x.view(segments, heads, wide // heads, bars)
        total = _newest_sum(torch.cat((weighed, weight), dim=2), self.shape.pool_levels)
        return (total[:, :, :-1] / total[:, :, -1:].clamp_min(1e-30)).flatten(1, 2)


def _untouched(x: Tensor) -> Tensor:
    return x


def _newest_sum(x: Tensor, levels: int) -> Tensor:
    """Sum the newest 2**levels bars at every bar that has so many, by doubling."""
    for level in range(levels):
        step = 2**level
        x = x[..., step:] + x[..., :-step]
    return x


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside, and as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
