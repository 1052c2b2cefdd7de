"""In a storm the same weight is a larger bet."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import shrink_book
from serving.risk.names import STORM_SIZE


@compiled
def storm_size(bar: int, desk: Desk) -> None:
    """Multiply targets and limits by `storm_size` while the market's volatility is in a storm.

    It is where the mean over the symbols with a bar of `signals.stress`, the log of 24- over
    168-bar volatility, reaches log(`storm_volatility_ratio`): the day is that many times as wild as
    its week, across the market. An unknown stress counts as 0, as calm.
    """
    if desk.limits.storm_size == 1.0:
        return
    total = 0.0
    count = 0
    for s in range(desk.targets.shape[0]):
        if desk.market.close[bar, s] > 0.0:
            stress = desk.signals.stress[bar, s]
            total += stress if stress == stress else 0.0  # noqa: PLR0124, NaN is unlike itself
            count += 1
    if count > 0 and total >= count * desk.limits.storm_stress:
        shrink_book(bar, STORM_SIZE, desk.limits.storm_size, desk)
