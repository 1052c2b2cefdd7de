"""The configuration of costs and risk as the engine reads it: plain numbers, per bar."""

import math
from datetime import timedelta
from typing import NamedTuple

from serving.config import CostConfig, RiskConfig

_YEAR = timedelta(days=365)
FIXED, VOLUME, SQRT = range(3)
_SLIPPAGE_MODELS = {"fixed": FIXED, "volume": VOLUME, "sqrt": SQRT}


class Limits(NamedTuple):
    """One number a key of `CostConfig` and `RiskConfig`; annual volatility is turned into per-bar.

    `rules_apply` is false for a strategy that is traded as it is (buy and hold).
    """

    taker_fee_rate: float
    slippage_model: int
    slippage_rate: float
    impact_coefficient: float
    participation_cap: float
    kelly_fraction: float
    bar_volatility_target: float
    risk_per_trade: float
    max_positions: int
    max_asset_weight: float
    max_gross_weight: float
    no_trade_band: float
    minimum_weight_change: float
    max_holding_bars: int
    stop_cooldown_bars: int
    rules_apply: bool


def bars_per_year(timeframe: timedelta) -> float:
    """Return how many bars of `timeframe` a year of 365 days around the clock has: 8,760 of an hour."""
    return _YEAR / timeframe


def limits_of(
    costs: CostConfig, risk: RiskConfig, timeframe: timedelta, *, rules_apply: bool = True
) -> Limits:
    """Return the limits of one book."""
    return Limits(
        taker_fee_rate=float(costs.taker_fee_rate),
        slippage_model=_SLIPPAGE_MODELS[costs.slippage_model],
        slippage_rate=float(costs.slippage_rate),
        impact_coefficient=float(costs.impact_coefficient),
        participation_cap=float(costs.participation_cap),
        kelly_fraction=float(risk.kelly_fraction),
        bar_volatility_target=float(risk.volatility_target) / math.sqrt(bars_per_year(timeframe)),
        risk_per_trade=float(risk.risk_per_trade),
        max_positions=int(risk.max_positions),
        max_asset_weight=float(risk.max_asset_weight),
        max_gross_weight=float(risk.max_gross_weight),
        no_trade_band=float(risk.no_trade_band),
        minimum_weight_change=float(risk.minimum_weight_change),
        max_holding_bars=int(risk.max_holding_bars),
        stop_cooldown_bars=int(risk.stop_cooldown_bars),
        rules_apply=rules_apply,
    )
