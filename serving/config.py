"""What trading costs and how much of it is allowed: the frozen configuration of the engine."""

import itertools
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FeeTier(BaseModel):
    """The fees of a book that trades enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    traded_30_days: float = Field(
        gt=0,
        description="Notional traded in the last 30 complete UTC days from which these fees hold, quote.",
    )
    maker_fee_rate: float = Field(
        ge=0, lt=0.1, description="Fee of a resting order, fraction of notional."
    )
    taker_fee_rate: float = Field(
        ge=0, lt=0.1, description="Fee of a market or stop order, fraction of notional."
    )


class CostConfig(BaseModel):
    """Fees, spread and slippage of every fill, and the kind of order that enters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    maker_fee_rate: float = Field(
        0.001, ge=0, lt=0.1, description="Fee of a resting order, fraction of notional."
    )
    taker_fee_rate: float = Field(
        0.001, ge=0, lt=0.1, description="Fee of a market or stop order, fraction of notional."
    )
    fee_tiers: tuple[FeeTier, ...] = Field(
        (),
        description="Fees by notional traded in 30 days, in rising order: traded_30_days, maker_fee_rate, taker_fee_rate of each.",
    )
    spread_rate: float = Field(
        0.0004,
        ge=0,
        lt=0.1,
        description="Full spread, fraction of price; a taker pays half of it, a resting order none.",
    )
    slippage_model: Literal["fixed", "volume", "sqrt"] = Field(
        "sqrt",
        description="How far beyond the spread a taker is filled: a fixed rate, linear in participation, or square-root impact.",
    )
    slippage_rate: float = Field(
        0.0002,
        ge=0,
        lt=0.1,
        description="Slippage of the fixed model beyond half the spread, fraction of price.",
    )
    impact_coefficient: float = Field(
        0.7,
        ge=0,
        description="Y of the sqrt model: Y * sigma_bar * sqrt(Q / V); slope of the volume model: Y * sigma_bar * Q / V.",
    )
    participation_cap: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Largest share of a bar's volume one order may take; the rest of it expires.",
    )
    entry_order: Literal["market", "limit", "stop"] = Field(
        "market",
        description="Kind of the orders that open or enlarge a position; all others are market orders.",
    )
    entry_offset_atr_multiple: float = Field(
        0.5,
        ge=0,
        description="Distance of a limit or stop entry from the close it was decided at, in ATR.",
    )

    @model_validator(mode="after")
    def _tiers_rise(self) -> Self:
        bounds = [tier.traded_30_days for tier in self.fee_tiers]
        if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
            raise ValueError(
                f"fee_tiers start at {bounds}; state each traded_30_days above the one before it"
            )
        return self


class RiskConfig(BaseModel):
    """Limits of every book. Rules only shrink targets, and every cut is recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kelly_fraction: float = Field(
        0.25, gt=0, le=1, description="Share of the full Kelly bet mu / sigma^2."
    )
    allow_shorts: bool = Field(
        False, description="Positions below zero are allowed on contracts; never on spot pairs."
    )
    volatility_target: float = Field(
        0.30,
        gt=0,
        description="Annual volatility one position may bring, fraction; annualised over 24/7 bars.",
    )
    risk_per_trade: float = Field(
        0.02, gt=0, le=1, description="Equity lost if a position is stopped out, fraction."
    )
    stop_atr_multiple: float = Field(
        2.0, gt=0, description="Distance of the stop from the entry, in ATR."
    )
    take_profit_atr_multiple: float = Field(
        0.0, ge=0, description="Distance of the take profit from the entry, in ATR; 0 means none."
    )
    take_profit_r_multiple: float = Field(
        0.0,
        ge=0,
        description="Distance of the take profit in multiples of the stop distance; 0 means none. The nearer of the two holds.",
    )
    trailing_stop_atr_multiple: float = Field(
        0.0,
        ge=0,
        description="Distance of the trailing stop from the best price since the entry, in ATR at the entry; 0 means none.",
    )
    max_positions: int = Field(5, ge=1, description="Positions held at once.")
    max_asset_weight: float = Field(0.40, gt=0, le=1, description="Equity in one asset, fraction.")
    max_gross_weight: float = Field(
        1.0, gt=0, description="Sum of absolute weights; 1 means no borrowing."
    )
    max_portfolio_heat: float = Field(
        0.06, gt=0, description="Equity lost if every position is stopped out at once, fraction."
    )
    max_correlated_weight: float = Field(
        0.80,
        gt=0,
        description="Sum of weights times their correlation with Bitcoin, absolute; an unknown correlation counts as 1.",
    )
    daily_loss_limit: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Loss since 00:00 UTC after which no position grows that day, fraction of equity.",
    )
    weekly_loss_limit: float = Field(
        0.10,
        gt=0,
        le=1,
        description="Loss since Monday 00:00 UTC after which no position grows that week, fraction of equity.",
    )
    monthly_loss_limit: float = Field(
        0.20,
        gt=0,
        le=1,
        description="Loss since the first of the month after which no position grows that month, fraction of equity.",
    )
    reduce_at_drawdown: float = Field(
        0.15,
        gt=0,
        le=1,
        description="Fall from the peak of equity from which positions are cut to reduced_size, fraction.",
    )
    reduced_size: float = Field(
        0.5, gt=0, le=1, description="Share of every limit left beyond reduce_at_drawdown."
    )
    flatten_at_drawdown: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Fall from the peak at which everything is closed until a person resumes the book, fraction.",
    )
    minimum_turnover: float = Field(
        0.0,
        ge=0,
        description="No position grows in a symbol whose bar traded less than this, quote; 0 means any.",
    )
    minimum_volatility: float = Field(
        0.05,
        ge=0,
        description="No position grows in a symbol less volatile than this, annual, fraction; 0 means any.",
    )
    storm_volatility_ratio: float = Field(
        2.0,
        gt=1,
        description="Volatility of a day over that of a week, averaged over the symbols, from which there is a storm.",
    )
    storm_size: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of every limit on weights left in a storm; 1 means storms change nothing.",
    )
    ramp_start: float = Field(
        0.5, gt=0, le=1, description="Share of its limits a new book starts with; 1 means no ramp."
    )
    ramp_step: float = Field(
        0.25, gt=0, le=1, description="Share added whenever the book has shown evidence of a gain."
    )
    ramp_bars: int = Field(
        720, ge=2, description="Bars since the last step before the next one is considered."
    )
    ramp_confidence: float = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="One-sided confidence that the mean return since the last step is positive.",
    )
    no_trade_band: float = Field(
        1.0,
        ge=0,
        description="A change of weight is made only if its expected gain exceeds this many times its round-trip cost.",
    )
    minimum_weight_change: float = Field(
        0.01, ge=0, description="Smallest change of weight worth an order, fraction of equity."
    )
    max_holding_bars: int = Field(
        0,
        ge=0,
        description="A position older than this is closed at the next open; 0 means no time exit.",
    )
    stop_cooldown_bars: int = Field(
        24,
        ge=0,
        description="Bars during which a symbol is not entered again after its stop was hit.",
    )
    allocation: Literal[
        "kelly", "equal_risk", "hrp", "mean_variance", "risk_parity", "black_litterman", "cvar"
    ] = Field(
        "kelly",
        description="How wishes become weights: each signal by itself (kelly), or all wanted symbols together on trailing returns.",
    )
    allocation_lookback_bars: int = Field(
        720, ge=48, description="Trailing bars an allocation other than kelly learns from."
    )
    allocation_every_bars: int = Field(
        24, ge=1, description="Bars between two allocations; kelly is decided at every bar."
    )
