"""The configuration of costs and risk as the engine reads it: plain numbers, per bar."""

import math
from datetime import timedelta
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from serving.compiled import Counts, Floats
from serving.config import CostConfig, RiskConfig
from serving.state import to_counts

_YEAR = timedelta(days=365)
FIXED, VOLUME, SQRT = range(3)
_SLIPPAGE_MODELS = {"fixed": FIXED, "volume": VOLUME, "sqrt": SQRT}
_ENTRY_ORDERS = ("market", "limit", "stop")


class Limits(NamedTuple):
    """One number a key of `CostConfig` and `RiskConfig`.

    Annual volatilities are turned into per-bar; the storm ratio into its logarithm; the ramp's
    confidence into a quantile of the normal distribution; distances in ATR into multiples of R, the
    distance of the stop (`entry_offset_r`, `target_r`, `trail_r`; 0 is none). `tier_from` [counts of
    1e-8 quote] starts at 0, the fees of a book that trades little. `entry_kind` is one of
    `tape.KINDS`. `rules_apply` is false for a strategy that is traded as it is (buy and hold).
    """

    tier_from: Counts
    tier_maker_fee_rate: Floats
    tier_taker_fee_rate: Floats
    half_spread_rate: float
    slippage_model: int
    slippage_rate: float
    impact_coefficient: float
    participation_cap: float
    entry_kind: int
    entry_offset_r: float
    kelly_fraction: float
    allow_shorts: bool
    bar_volatility_target: float
    risk_per_trade: float
    target_r: float
    trail_r: float
    max_positions: int
    max_asset_weight: float
    max_gross_weight: float
    max_portfolio_heat: float
    max_correlated_weight: float
    daily_loss_limit: float
    weekly_loss_limit: float
    monthly_loss_limit: float
    reduce_at_drawdown: float
    reduced_size: float
    flatten_at_drawdown: float
    minimum_turnover: float
    bar_minimum_volatility: float
    storm_stress: float
    storm_size: float
    ramp_start: float
    ramp_step: float
    ramp_bars: int
    ramp_score: float
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
    per_bar = 1.0 / math.sqrt(bars_per_year(timeframe))
    tiers = costs.fee_tiers
    return Limits(
        tier_from=np.array([0, *(to_counts(t.traded_30_days) for t in tiers)], np.int64),
        tier_maker_fee_rate=_fees(costs.maker_fee_rate, [t.maker_fee_rate for t in tiers]),
        tier_taker_fee_rate=_fees(costs.taker_fee_rate, [t.taker_fee_rate for t in tiers]),
        half_spread_rate=costs.spread_rate / 2.0,
        slippage_model=_SLIPPAGE_MODELS[costs.slippage_model],
        slippage_rate=float(costs.slippage_rate),
        impact_coefficient=float(costs.impact_coefficient),
        participation_cap=float(costs.participation_cap),
        entry_kind=_ENTRY_ORDERS.index(costs.entry_order),
        entry_offset_r=costs.entry_offset_atr_multiple / risk.stop_atr_multiple,
        kelly_fraction=float(risk.kelly_fraction),
        allow_shorts=risk.allow_shorts,
        bar_volatility_target=risk.volatility_target * per_bar,
        risk_per_trade=float(risk.risk_per_trade),
        target_r=_target_r(risk),
        trail_r=risk.trailing_stop_atr_multiple / risk.stop_atr_multiple,
        max_positions=int(risk.max_positions),
        max_asset_weight=float(risk.max_asset_weight),
        max_gross_weight=float(risk.max_gross_weight),
        max_portfolio_heat=float(risk.max_portfolio_heat),
        max_correlated_weight=float(risk.max_correlated_weight),
        daily_loss_limit=float(risk.daily_loss_limit),
        weekly_loss_limit=float(risk.weekly_loss_limit),
        monthly_loss_limit=float(risk.monthly_loss_limit),
        reduce_at_drawdown=float(risk.reduce_at_drawdown),
        reduced_size=float(risk.reduced_size),
        flatten_at_drawdown=float(risk.flatten_at_drawdown),
        minimum_turnover=float(risk.minimum_turnover),
        bar_minimum_volatility=risk.minimum_volatility * per_bar,
        storm_stress=math.log(risk.storm_volatility_ratio),
        storm_size=float(risk.storm_size),
        ramp_start=float(risk.ramp_start),
        ramp_step=float(risk.ramp_step),
        ramp_bars=int(risk.ramp_bars),
        ramp_score=NormalDist().inv_cdf(risk.ramp_confidence),
        no_trade_band=float(risk.no_trade_band),
        minimum_weight_change=float(risk.minimum_weight_change),
        max_holding_bars=int(risk.max_holding_bars),
        stop_cooldown_bars=int(risk.stop_cooldown_bars),
        rules_apply=rules_apply,
    )


def _fees(first: float, tiers: list[float]) -> Floats:
    return np.array([first, *tiers], np.float64)


def _target_r(risk: RiskConfig) -> float:
    by_atr = risk.take_profit_atr_multiple / risk.stop_atr_multiple
    return min((r for r in (by_atr, risk.take_profit_r_multiple) if r > 0.0), default=0.0)
