"""All rules, in their fixed order."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.asset_cap import asset_cap
from serving.risk.cooldown import cooldown
from serving.risk.gross_cap import gross_cap
from serving.risk.holding_period import holding_period
from serving.risk.long_only import long_only
from serving.risk.names import (
    ASSET_CAP,
    COOLDOWN,
    GROSS_CAP,
    HOLDING_PERIOD,
    LONG_ONLY,
    NO_TRADE_BAND,
    POSITION_CAP,
    RISK_PER_TRADE,
    VOLATILITY_TARGET,
)
from serving.risk.no_trade_band import no_trade_band
from serving.risk.position_cap import position_cap
from serving.risk.risk_per_trade import risk_per_trade
from serving.risk.volatility_target import volatility_target
from serving.tape import FIRST_RULE_STAGE


@compiled
def count_changes(stage: int, desk: Desk) -> None:
    """Add the symbols whose target still differs from their weight to a stage of the waterfall."""
    if desk.tape.recording:
        for s in range(desk.targets.shape[0]):
            if desk.targets[s] != desk.current[s]:
                desk.tape.stages[stage] += 1


@compiled
def apply_rules(bar: int, desk: Desk) -> None:
    """Shrink `targets` in place by every rule: first those on one symbol, then those on the book."""
    long_only(bar, desk)
    count_changes(FIRST_RULE_STAGE + LONG_ONLY, desk)
    holding_period(bar, desk)
    count_changes(FIRST_RULE_STAGE + HOLDING_PERIOD, desk)
    cooldown(bar, desk)
    count_changes(FIRST_RULE_STAGE + COOLDOWN, desk)
    volatility_target(bar, desk)
    count_changes(FIRST_RULE_STAGE + VOLATILITY_TARGET, desk)
    risk_per_trade(bar, desk)
    count_changes(FIRST_RULE_STAGE + RISK_PER_TRADE, desk)
    asset_cap(bar, desk)
    count_changes(FIRST_RULE_STAGE + ASSET_CAP, desk)
    no_trade_band(bar, desk)
    count_changes(FIRST_RULE_STAGE + NO_TRADE_BAND, desk)
    position_cap(bar, desk)
    count_changes(FIRST_RULE_STAGE + POSITION_CAP, desk)
    gross_cap(bar, desk)
    count_changes(FIRST_RULE_STAGE + GROSS_CAP, desk)
