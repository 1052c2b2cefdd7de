"""How a network begins: as the base rate, with small and seeded weights."""

import torch
from torch import Tensor, nn

from serving.sequences.temporal import TemporalNet


def initialise(net: TemporalNet, shares: Tensor, *, seed: int) -> None:
    """Draw the weights of `net`; until it learns, it answers `shares` to everything.

    Parameters
    ----------
    net : TemporalNet
    shares : Tensor, shape (3,)
        Share of each class, above 0: an absent class begins, and so remains, all but impossible.
    seed : int

    Notes
    -----
    What ends a residual branch, scores attention or answers begins at 0: blocks begin as identities
    and attention as a mean (T. Bachlechner et al., *ReZero is All You Need*, 2020).
    """
    generator = torch.Generator().manual_seed(seed)
    nn.init.kaiming_normal_(net.project.weight, nonlinearity="linear", generator=generator)
    for layer in (*net.look, net.join):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    for layer in (*net.mix, net.attend, net.answer):
        nn.init.zeros_(layer.weight)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    net.answer.bias = nn.Parameter(shares.log().float())


def class_shares(y: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted share of each class, shape (3,), half a sample more each."""
    mass = torch.bincount(y, weights=weight.double(), minlength=3) + 0.5
    return mass / mass.sum()
