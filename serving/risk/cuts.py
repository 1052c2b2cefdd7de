"""The ways in which rules cut a target."""

from serving.compiled import inlined
from serving.desk import Desk, cut


@inlined
def held_part(target: float, current: float) -> float:
    """Return what of `target` is held already: the target, clipped to between 0 and `current`.

    The rest of the target is growth. A target of the other sign is all growth.
    """
    return max(min(target, max(current, 0.0)), min(current, 0.0))


@inlined
def shrink(bar: int, s: int, rule: int, allowed: float, desk: Desk) -> None:
    """Cut a target to `allowed`, if that is anything else."""
    if desk.targets[s] != allowed:
        cut(bar, s, rule, allowed, desk)


@inlined
def cut_to_size(bar: int, s: int, rule: int, largest: float, desk: Desk) -> None:
    """Shrink |target| to at most `largest`, and lower the symbol's ceiling to it."""
    desk.ceiling[s] = min(desk.ceiling[s], largest)
    shrink(bar, s, rule, min(max(desk.targets[s], -largest), largest), desk)


@inlined
def forbid_growth(bar: int, s: int, rule: int, desk: Desk) -> None:
    """Shrink a target to what of it is held already."""
    shrink(bar, s, rule, held_part(desk.targets[s], desk.current[s]), desk)


@inlined
def share_growth(bar: int, s: int, rule: int, share: float, desk: Desk) -> None:
    """Shrink the growth of a target to `share` of it; below `minimum_weight_change` it is not made."""
    target = desk.targets[s]
    held = held_part(target, desk.current[s])
    growth = (target - held) * share
    if abs(growth) < desk.limits.minimum_weight_change:
        growth = 0.0
    shrink(bar, s, rule, min(max(held + growth, -abs(target)), abs(target)), desk)


@inlined
def close_out(bar: int, s: int, rule: int, desk: Desk) -> None:
    """Shrink a target to nothing and let no later rule touch it: it is closed whatever that costs."""
    shrink(bar, s, rule, 0.0, desk)
    desk.frozen[s] = True


@inlined
def shrink_book(bar: int, rule: int, size: float, desk: Desk) -> None:
    """Multiply every target, every ceiling and the share of limits in force by `size`, below 1."""
    desk.scale[0] *= size
    for s in range(desk.targets.shape[0]):
        if not desk.frozen[s]:
            desk.ceiling[s] *= size
            shrink(bar, s, rule, desk.targets[s] * size, desk)
