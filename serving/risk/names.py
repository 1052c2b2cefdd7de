"""The rules by number, in the order in which they are applied, and what a cut by each means."""

from serving.limits import Limits

(
    LONG_ONLY,
    HOLDING_PERIOD,
    COOLDOWN,
    VOLATILITY_TARGET,
    RISK_PER_TRADE,
    ASSET_CAP,
    NO_TRADE_BAND,
    POSITION_CAP,
    GROSS_CAP,
    VENUE_FILTERS,
) = range(10)

RULES = (
    "long_only",
    "holding_period",
    "cooldown",
    "volatility_target",
    "risk_per_trade",
    "asset_cap",
    "no_trade_band",
    "position_cap",
    "gross_cap",
    "venue_filters",
)


def reason_of(rule: int, limits: Limits) -> str:
    """Return why `rule` cut, with its bound, as one clause for a person."""
    return (
        "a spot book cannot be short",
        f"held {limits.max_holding_bars} bars (max_holding_bars)",
        f"stopped out within {limits.stop_cooldown_bars} bars (stop_cooldown_bars)",
        f"would bring more than {limits.bar_volatility_target:.6g} volatility a bar (volatility_target)",
        f"would lose more than {limits.risk_per_trade:g} of equity at its stop, or has none (risk_per_trade)",
        f"above {limits.max_asset_weight:g} of equity in one asset (max_asset_weight)",
        f"gain below {limits.no_trade_band:g} x cost, or change below {limits.minimum_weight_change:g}"
        " (no_trade_band, minimum_weight_change)",
        f"more than {limits.max_positions} positions (max_positions)",
        f"gross weight above {limits.max_gross_weight:g} (max_gross_weight)",
        "order below the venue's lot or minimum notional",
    )[rule]
