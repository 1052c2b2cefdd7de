"""The whole book may be only so large."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import held_part, share_growth, shrink
from serving.risk.names import GROSS_CAP


@compiled
def gross_cap(bar: int, desk: Desk) -> None:
    """Cut targets so that |weights| sum to at most `max_gross_weight` x the share of limits in force.

    What is held comes first: growth shares what it leaves, in proportion; growth that falls under
    `minimum_weight_change` is not made. Only if what is held is itself too much, by more than that
    minimum, is it scaled down, except what is frozen.
    """
    fixed = 0.0
    held = 0.0
    wanted = 0.0
    for s in range(desk.targets.shape[0]):
        target = desk.targets[s]
        part = target if desk.frozen[s] else held_part(target, desk.current[s])
        fixed += abs(target) if desk.frozen[s] else 0.0
        held += 0.0 if desk.frozen[s] else abs(part)
        wanted += abs(target - part)
    room = max(desk.limits.max_gross_weight * desk.scale[0] - fixed, 0.0)
    if held + wanted <= room:
        return
    share = max(room - held, 0.0) / wanted if wanted > 0.0 else 0.0
    keep = room / held if held - room > desk.limits.minimum_weight_change else 1.0
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s] or desk.targets[s] == 0.0:
            continue
        if keep < 1.0:
            shrink(bar, s, GROSS_CAP, held_part(desk.targets[s], desk.current[s]) * keep, desk)
        else:
            share_growth(bar, s, GROSS_CAP, share, desk)
