"""Guardrails of a reign: what a champion must not do, judged by its own book since it has the role."""

from dataclasses import dataclass

from evaluation.promotion.config import GuardConfig
from serving.compiled import Floats


@dataclass(frozen=True)
class Breach:
    """A guardrail that was broken: which one, what was observed, and its bound."""

    guard: str
    observed: float
    bound: float

    def as_text(self) -> str:
        """Return it as a reason."""
        return f"{self.guard} {self.observed:.4g} is beyond {self.bound:.4g}"


def breaches(equity: Floats, loss_bars: int, config: GuardConfig) -> list[Breach]:
    """Return which guardrails the book of a champion has broken since its reign began.

    Parameters
    ----------
    equity : float64 (n,)
        At the close before the reign's first bar, and at every close since; positive.
    loss_bars : int
        Bars of `config.loss_hours`.
    config : GuardConfig

    Returns
    -------
    list of Breach
        Empty where all hold, and for a reign without a bar.
    """
    if equity.size < 2:
        return []
    fall = float(1.0 - equity[-1] / equity.max())
    loss = float(1.0 - equity[-1] / equity[-min(loss_bars + 1, equity.size)])
    seen = (Breach("drawdown", fall, config.drawdown), Breach("loss", loss, config.loss))
    return [one for one in seen if one.observed > one.bound]
