"""Why a strategy did, or did not, trade: the counts of the waterfall as one plain sentence."""

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

_BARS, _SCORED, _ASKED, _ORDERED, _FILLED = (
    "bars", "scored", "asked for a change", "ordered", "filled"
)  # fmt: skip
_AFTER = "after "
_CAUSES = {
    _BARS: "there was no bar in the span",
    _SCORED: "none of the {before} bar-symbols had a score and the features to size it",
    _ASKED: "none of the {before} scores asked for anything but what was held already",
    _ORDERED: "none of the {before} changes that passed every rule became an order",
    _FILLED: "none of the {before} orders could be filled at the next bar (no bar, no volume, or its"
    " price was not reached)",
}


def explain_silence(waterfall: pl.DataFrame) -> str:
    """Return why nothing was traded, or, where something was, which rule stopped the most.

    Parameters
    ----------
    waterfall : polars.DataFrame
        Columns stage and count, as in `evaluation.backtest.BacktestResult`: bars, scored, asked for a
        change, one "after <rule>" a rule in its order, ordered, filled. What follows is not read.

    Raises
    ------
    ValueError
        If a stage before the rules, or one of the orders, is missing.
    """
    stages = chain(waterfall)
    silent = next((i for i, (_, count) in enumerate(stages) if count == 0), None)
    if silent is None:
        return _told(stages)
    name, _ = stages[silent]
    before = stages[silent - 1][1] if silent else 0
    if name.startswith(_AFTER):
        asked = dict(stages)[_ASKED]
        last = f"of {asked:,} changes asked for, the rule {_rule(name)} cut the last {before:,}"
        return f"Nothing was traded: {last}.{_greatest(stages, but=name)}"
    return f"Nothing was traded: {_CAUSES[name].format(before=f'{before:,}')}."


def chain(waterfall: pl.DataFrame) -> list[tuple[str, int]]:
    """Return the stages from bars to filled with their counts, in order.

    Raises
    ------
    ValueError
        If one is missing.
    """
    counts = dict(zip(waterfall["stage"].to_list(), waterfall["count"].to_list(), strict=True))
    missing = [stage for stage in _CAUSES if stage not in counts]
    if missing:
        raise ValueError(
            f"the waterfall has no stage {' and no stage '.join(map(repr, missing))}, only "
            f"{', '.join(counts) or 'nothing'}; hand over `BacktestResult.waterfall` as it is"
        )
    return [(s, int(n)) for s, n in counts.items() if s in _CAUSES or s.startswith(_AFTER)]


def _told(stages: Sequence[tuple[str, int]]) -> str:
    counts = dict(stages)
    return (
        f"Of {counts[_BARS]:,} bar-symbols {counts[_SCORED]:,} were scored and {counts[_ASKED]:,} asked "
        f"for a change; {counts[_ORDERED]:,} became orders and {counts[_FILLED]:,} of these were filled."
        f"{_greatest(stages)}"
    )


def _greatest(stages: Sequence[tuple[str, int]], but: str = "") -> str:
    """Return which rule ended the most changes; a rule that forces sales may add some instead."""
    cuts = [(before - after, name) for (_, before), (name, after) in pairwise(stages)]
    most, name = max((cut for cut in cuts if cut[1].startswith(_AFTER)), default=(0, ""))
    if most <= 0 or name == but:
        return ""
    return f" The rule that stopped the most was {_rule(name)}: {most:,}."


def _rule(stage: str) -> str:
    return stage.removeprefix(_AFTER)
