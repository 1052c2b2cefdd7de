"""Shape of a temporal convolutional network, as it is written beside its weights."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Architecture:
    """Shape of the network, and with it how far back a probability looks.

    Parameters
    ----------
    features : int
        Columns of X.
    channels : int
        Width of the network, to which the features are projected first; a multiple of `heads`.
    levels : int
        Residual blocks; block i looks back in steps of 2**i bars.
    kernel : int
        Bars that a convolution joins.
    pool_levels : int
        Attention pools the newest 2**pool_levels bars.
    heads : int
        Attention weights a bar, each for `channels / heads` channels.

    Raises
    ------
    ValueError
        On a size that makes no network.
    """

    features: int
    channels: int
    levels: int
    kernel: int
    pool_levels: int
    heads: int

    def __post_init__(self) -> None:
        sizes = {**asdict(self), "kernel": self.kernel - 1, "pool_levels": self.pool_levels + 1}
        if small := sorted(name for name, size in sizes.items() if size < 1):
            raise ValueError(f"{', '.join(small)} too small for a network: {self}")
        if self.channels % self.heads:
            raise ValueError(f"{self.channels} channels cannot be shared by {self.heads} heads")

    @property
    def context_bars(self) -> int:
        """Bars, the newest included, that a probability depends on."""
        return (self.kernel - 1) * ((1 << self.levels) - 1) + (1 << self.pool_levels)
