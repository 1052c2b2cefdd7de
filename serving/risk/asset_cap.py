"""Only so much of the equity may be in one asset."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import cut_to_size
from serving.risk.names import ASSET_CAP


@compiled
def asset_cap(bar: int, desk: Desk) -> None:
    """Cut every |target| to `max_asset_weight`."""
    for s in range(desk.targets.shape[0]):
        if not desk.frozen[s]:
            cut_to_size(bar, s, ASSET_CAP, desk.limits.max_asset_weight, desk)
