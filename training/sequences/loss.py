"""What a sequence model minimises."""

import torch
from torch import Tensor


def focal_loss(logits: Tensor, y: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Return the weighted sum of `-(1 - p)**gamma * log(p)` of the true classes.

    Parameters
    ----------
    logits : Tensor, shape (s, 3, n)
    y, weight : Tensor, shape (s, n)
    gamma : float
        0 gives log loss; more gives less room to what is already easy.

    References
    ----------
    T.-Y. Lin et al., *Focal Loss for Dense Object Detection* (2017).
    """
    gain = torch.log_softmax(logits, dim=1).gather(1, y[:, None])[:, 0]
    if gamma:
        gain = gain * (1 - gain.exp()) ** gamma
    return -(gain * weight).sum()
