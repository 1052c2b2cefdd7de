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
    """Return why `rule` cut, with its bound, as one clause for a person."""
    return (
        "a spot book cannot be short, nor one without allow_shorts",
        "a person paused or liquidates the book",
        f"{limits.flatten_at_drawdown:g} below the peak of equity: halted until resumed (flatten_at_drawdown)",
        f"held {limits.max_holding_bars} bars (max_holding_bars)",
        f"lost {limits.daily_loss_limit:g} of equity today (daily_loss_limit)",
        f"lost {limits.weekly_loss_limit:g} of equity this week (weekly_loss_limit)",
        f"lost {limits.monthly_loss_limit:g} of equity this month (monthly_loss_limit)",
        f"stopped out within {limits.stop_cooldown_bars} bars (stop_cooldown_bars)",
        f"traded less than {limits.minimum_turnover:g} in its bar (minimum_turnover)",
        f"volatility a bar below {limits.bar_minimum_volatility:.6g} (minimum_volatility)",
        f"would bring more than {limits.bar_volatility_target:.6g} volatility a bar (volatility_target)",
        f"would lose more than {limits.risk_per_trade:g} of equity at its stop, or has none (risk_per_trade)",
        f"above {limits.max_asset_weight:g} of equity in one asset (max_asset_weight)",
        f"{limits.reduce_at_drawdown:g} below the peak of equity: {limits.reduced_size:g} of the size (reduce_at_drawdown)",
        f"in a storm: {limits.storm_size:g} of the size (storm_volatility_ratio, storm_size)",
        "capital is still being ramped up (ramp_start, ramp_step)",
        f"gain below {limits.no_trade_band:g} x cost, or change below {limits.minimum_weight_change:g}"
        " (no_trade_band, minimum_weight_change)",
        f"more than {limits.max_positions} positions (max_positions)",
        f"all stops together above {limits.max_portfolio_heat:g} of equity (max_portfolio_heat)",
        f"correlated weight above {limits.max_correlated_weight:g} (max_correlated_weight)",
        f"gross weight above {limits.max_gross_weight:g} (max_gross_weight)",
        "order below the venue's lot or minimum notional",
    )[rule]
