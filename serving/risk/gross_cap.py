"""The whole book may be only so large."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.names import GROSS_CAP
from serving.tape import record_cut


@compiled
def gross_cap(bar: int, desk: Desk) -> None:
    """Cut targets so that they sum to at most `max_gross_weight`.

    What is kept comes first: increases share what it leaves, in proportion; an increase that falls
    under `minimum_weight_change` is not made. Only if what is kept is itself too much is it scaled
    down, except what is frozen.
    """
    kept = 0.0
    fixed = 0.0
    wanted = 0.0
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s]:
            fixed += desk.targets[s]
        else:
            base = min(desk.targets[s], desk.current[s])
            kept += base
            wanted += desk.targets[s] - base
    room = desk.limits.max_gross_weight - fixed - kept
    if wanted <= room:
        return
    share = max(room, 0.0) / wanted if wanted > 0.0 else 0.0
    keep = 1.0
    if room < 0.0 and kept > 0.0:
        keep = max(desk.limits.max_gross_weight - fixed, 0.0) / kept
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s] or desk.targets[s] == 0.0:
            continue
        base = min(desk.targets[s], desk.current[s])
        increase = (desk.targets[s] - base) * share
        if increase < desk.limits.minimum_weight_change:
            increase = 0.0
        allowed = base * keep + increase
        if allowed < desk.targets[s]:
            record_cut(desk.tape, bar, s, GROSS_CAP, desk.targets[s], allowed)
            desk.targets[s] = allowed
