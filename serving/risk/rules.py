"""All rules, in their fixed order.

First a person and the book's own halt, then what one symbol may do, then how large the book may
bet, then what is worth its cost, then the caps on the whole book. Within three groups the order does
not matter to the targets that remain, only to which rule is named for a cut:

- the rules that forbid growth (`daily_loss` to `minimum_volatility`), and with them
- the largest sizes of one symbol (`volatility_target`, `risk_per_trade`, `asset_cap`): each takes a
  minimum of the same size;
- the shares of the book (`drawdown_size`, `storm_size`, `capital_ramp`): a product, but for its
  last bit.

A strategy that is traded as it is (buy and hold) knows `control` only: the engine calls it alone.

After all of them every target is within the limits, except what is frozen, and what is held already
and kept: by the band, within `minimum_weight_change` of its ceiling and of the gross cap; by heat and
correlation, whatever it came to, but then nothing adds to it.
"""

from serving.compiled import compiled, inlined
from serving.desk import Desk
from serving.risk.asset_cap import asset_cap
from serving.risk.capital_ramp import capital_ramp
from serving.risk.control import control
from serving.risk.cooldown import cooldown
from serving.risk.correlation_limit import correlation_limit
from serving.risk.drawdown_size import drawdown_size
from serving.risk.drawdown_stop import drawdown_stop
from serving.risk.gross_cap import gross_cap
from serving.risk.holding_period import holding_period
from serving.risk.long_only import long_only
from serving.risk.loss_limits import daily_loss, monthly_loss, weekly_loss
from serving.risk.minimum_turnover import minimum_turnover
from serving.risk.minimum_volatility import minimum_volatility
from serving.risk.names import (
    ASSET_CAP,
    CAPITAL_RAMP,
    CONTROL,
    COOLDOWN,
    CORRELATION_LIMIT,
    DAILY_LOSS,
    DRAWDOWN_SIZE,
    DRAWDOWN_STOP,
    GROSS_CAP,
    HOLDING_PERIOD,
    LONG_ONLY,
    MINIMUM_TURNOVER,
    MINIMUM_VOLATILITY,
    MONTHLY_LOSS,
    NO_TRADE_BAND,
    PORTFOLIO_HEAT,
    POSITION_CAP,
    RISK_PER_TRADE,
    STORM_SIZE,
    VOLATILITY_TARGET,
    WEEKLY_LOSS,
)
from serving.risk.no_trade_band import no_trade_band
from serving.risk.portfolio_heat import portfolio_heat
from serving.risk.position_cap import position_cap
from serving.risk.risk_per_trade import risk_per_trade
from serving.risk.storm_size import storm_size
from serving.risk.volatility_target import volatility_target
from serving.tape import FIRST_RULE_STAGE


@inlined
def count_changes(stage: int, desk: Desk) -> None:
    """Add the symbols whose target still differs from their weight to a stage of the waterfall."""
    if desk.tape.recording:
        for s in range(desk.targets.shape[0]):
            if desk.targets[s] != desk.current[s]:
                desk.tape.stages[stage] += 1


@compiled
def apply_rules(bar: int, desk: Desk) -> None:
    """Shrink `targets` in place by every rule, in the order of `names.RULES`."""
    long_only(bar, desk)
    count_changes(FIRST_RULE_STAGE + LONG_ONLY, desk)
    control(bar, desk)
    count_changes(FIRST_RULE_STAGE + CONTROL, desk)
    drawdown_stop(bar, desk)
    count_changes(FIRST_RULE_STAGE + DRAWDOWN_STOP, desk)
    holding_period(bar, desk)
    count_changes(FIRST_RULE_STAGE + HOLDING_PERIOD, desk)
    daily_loss(bar, desk)
    count_changes(FIRST_RULE_STAGE + DAILY_LOSS, desk)
    weekly_loss(bar, desk)
    count_changes(FIRST_RULE_STAGE + WEEKLY_LOSS, desk)
    monthly_loss(bar, desk)
    count_changes(FIRST_RULE_STAGE + MONTHLY_LOSS, desk)
    cooldown(bar, desk)
    count_changes(FIRST_RULE_STAGE + COOLDOWN, desk)
    minimum_turnover(bar, desk)
    count_changes(FIRST_RULE_STAGE + MINIMUM_TURNOVER, desk)
    minimum_volatility(bar, desk)
    count_changes(FIRST_RULE_STAGE + MINIMUM_VOLATILITY, desk)
    volatility_target(bar, desk)
    count_changes(FIRST_RULE_STAGE + VOLATILITY_TARGET, desk)
    risk_per_trade(bar, desk)
    count_changes(FIRST_RULE_STAGE + RISK_PER_TRADE, desk)
    asset_cap(bar, desk)
    count_changes(FIRST_RULE_STAGE + ASSET_CAP, desk)
    drawdown_size(bar, desk)
    count_changes(FIRST_RULE_STAGE + DRAWDOWN_SIZE, desk)
    storm_size(bar, desk)
    count_changes(FIRST_RULE_STAGE + STORM_SIZE, desk)
    capital_ramp(bar, desk)
    count_changes(FIRST_RULE_STAGE + CAPITAL_RAMP, desk)
    no_trade_band(bar, desk)
    count_changes(FIRST_RULE_STAGE + NO_TRADE_BAND, desk)
    position_cap(bar, desk)
    count_changes(FIRST_RULE_STAGE + POSITION_CAP, desk)
    portfolio_heat(bar, desk)
    count_changes(FIRST_RULE_STAGE + PORTFOLIO_HEAT, desk)
    correlation_limit(bar, desk)
    count_changes(FIRST_RULE_STAGE + CORRELATION_LIMIT, desk)
    gross_cap(bar, desk)
    count_changes(FIRST_RULE_STAGE + GROSS_CAP, desk)
