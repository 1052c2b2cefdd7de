"""After a bad day, week or month a book takes no more risk until the next one begins."""

from serving.compiled import compiled, inlined
from serving.desk import Desk
from serving.risk.cuts import forbid_growth
from serving.risk.names import DAILY_LOSS, MONTHLY_LOSS, WEEKLY_LOSS
from serving.state import DAY, EQUITY, MONTH, WEEK


@inlined
def rest_after_loss(bar: int, rule: int, anchor: int, limit: float, desk: Desk) -> None:
    """Let nothing grow while equity is below `anchor` by the fraction `limit`.

    The anchor is the equity at the first close of the running period, UTC: of the day, of the week
    from Monday, of the month. What is held is kept, by its signal and its stop.
    """
    if desk.state.money[EQUITY] > anchor * (1.0 - limit):
        return
    for s in range(desk.targets.shape[0]):
        if not desk.frozen[s]:
            forbid_growth(bar, s, rule, desk)


@compiled
def daily_loss(bar: int, desk: Desk) -> None:
    """Let nothing grow once `daily_loss_limit` of the equity at 00:00 UTC is lost."""
    rest_after_loss(bar, DAILY_LOSS, desk.state.money[DAY], desk.limits.daily_loss_limit, desk)


@compiled
def weekly_loss(bar: int, desk: Desk) -> None:
    """Let nothing grow once `weekly_loss_limit` of the equity at Monday 00:00 UTC is lost."""
    rest_after_loss(bar, WEEKLY_LOSS, desk.state.money[WEEK], desk.limits.weekly_loss_limit, desk)


@compiled
def monthly_loss(bar: int, desk: Desk) -> None:
    """Let nothing grow once `monthly_loss_limit` of the equity at the month's first 00:00 UTC is lost."""
    rest_after_loss(
        bar, MONTHLY_LOSS, desk.state.money[MONTH], desk.limits.monthly_loss_limit, desk
    )
