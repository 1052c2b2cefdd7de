"""Only so much of the equity may be in one asset."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.names import ASSET_CAP
from serving.tape import record_cut


@compiled
def asset_cap(bar: int, desk: Desk) -> None:
    """Cut every target to `max_asset_weight`."""
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s]:
            continue
        allowed = desk.limits.max_asset_weight
        desk.ceiling[s] = min(desk.ceiling[s], allowed)
        if desk.targets[s] > allowed:
            record_cut(desk.tape, bar, s, ASSET_CAP, desk.targets[s], allowed)
            desk.targets[s] = allowed
