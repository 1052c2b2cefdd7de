"""The rules by number, in the order in which they are applied, and what a cut by each means."""

from serving.limits import Limits
from serving.state import SIGNAL

(
    LONG_ONLY,
    CONTROL,
    DRAWDOWN_STOP,
    HOLDING_PERIOD,
    DAILY_LOSS,
    WEEKLY_LOSS,
    MONTHLY_LOSS,
    COOLDOWN,
    MINIMUM_TURNOVER,
    MINIMUM_VOLATILITY,
    VOLATILITY_TARGET,
    RISK_PER_TRADE,
    ASSET_CAP,
    DRAWDOWN_SIZE,
    STORM_SIZE,
    CAPITAL_RAMP,
    NO_TRADE_BAND,
    POSITION_CAP,
    PORTFOLIO_HEAT,
    CORRELATION_LIMIT,
    GROSS_CAP,
    VENUE_FILTERS,
) = range(22)

RULES = (
    "long_only",
    "control",
    "drawdown_stop",
    "holding_period",
    "daily_loss",
    "weekly_loss",
    "monthly_loss",
    "cooldown",
    "minimum_turnover",
    "minimum_volatility",
    "volatility_target",
    "risk_per_trade",
    "asset_cap",
    "drawdown_size",
    "storm_size",
    "capital_ramp",
    "no_trade_band",
    "position_cap",
    "portfolio_heat",
    "correlation_limit",
    "gross_cap",
    "venue_filters",
)


def cause_of(number: int) -> str:
    """Return the name of what shaped an order: a rule, or "signal"."""
    return "signal" if number == SIGNAL else RULES[number]


def reason_of(rule: int, limits: Limits) -> str:
    """Return why `rule` cut, with its bound and the key that sets it, as one clause for a person.

    Drawdown, storm and ramp leave only a share of the limits of the whole book in force; clauses on
    those limits say so, the cuts by these three rules at the same bar say how large the share is.
    """
    in_force = " x the share of limits in force"
    return (
        "short, and no contract of a book with allow_shorts",
        "the book is paused (nothing grows) or being liquidated (control)",
        f"equity fell {limits.flatten_at_drawdown:g} from its peak: halted until a person resumes"
        " (flatten_at_drawdown)",
        f"held {limits.max_holding_bars} bars (max_holding_bars)",
        f"lost {limits.daily_loss_limit:g} of equity since 00:00 UTC (daily_loss_limit)",
        f"lost {limits.weekly_loss_limit:g} of equity since Monday (weekly_loss_limit)",
        f"lost {limits.monthly_loss_limit:g} of equity since the first of the month (monthly_loss_limit)",
        f"stopped out within {limits.stop_cooldown_bars} bars (stop_cooldown_bars)",
        f"traded less than {limits.minimum_turnover:g} in this bar (minimum_turnover)",
        f"volatility below {limits.bar_minimum_volatility:.6g} a bar (minimum_volatility)",
        f"would bring more than {limits.bar_volatility_target:.6g} volatility a bar, or an unknown one"
        " (volatility_target)",
        f"would lose more than {limits.risk_per_trade:g} of equity at its stop, or has none (risk_per_trade)",
        f"above {limits.max_asset_weight:g} of equity in one asset (max_asset_weight)",
        f"equity fell {limits.reduce_at_drawdown:g} from its peak: {limits.reduced_size:g} x the size"
        " (reduce_at_drawdown, reduced_size)",
        f"in a storm: {limits.storm_size:g} x the size (storm_volatility_ratio, storm_size)",
        f"a new book trades {limits.ramp_start:g} + {limits.ramp_step:g} x its steps of the size"
        " (ramp_start, ramp_step)",
        f"gain below {limits.no_trade_band:g} x cost, or change below {limits.minimum_weight_change:g}"
        " (no_trade_band, minimum_weight_change)",
        f"more than {limits.max_positions} positions (max_positions)",
        f"all stops together above {limits.max_portfolio_heat:g} of equity{in_force} (max_portfolio_heat)",
        f"weight moving with bitcoin above {limits.max_correlated_weight:g}{in_force} (max_correlated_weight)",
        f"gross weight above {limits.max_gross_weight:g}{in_force} (max_gross_weight)",
        "order below the venue's lot or minimum notional",
    )[rule]
