"""What has just been stopped out is left alone for a while."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import forbid_growth
from serving.risk.names import COOLDOWN


@compiled
def cooldown(bar: int, desk: Desk) -> None:
    """Let no symbol grow during the `stop_cooldown_bars` after its stop was hit.

    Without it a stop would be followed by the same entry at the next open: the fee is paid, the
    risk stays.
    """
    for s in range(desk.targets.shape[0]):
        if desk.state.cooldown[s] > 0 and not desk.frozen[s]:
            forbid_growth(bar, s, COOLDOWN, desk)
