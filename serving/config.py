"""What trading costs and how much of it is allowed: the frozen configuration of the engine."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CostConfig(BaseModel):
    """Fees and slippage of every fill."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    maker_fee_rate: float = Field(
        0.001, ge=0, lt=0.1, description="Fee of a resting order, fraction of notional."
    )
    taker_fee_rate: float = Field(
        0.001, ge=0, lt=0.1, description="Fee of a market or stop order, fraction of notional."
    )
    slippage_model: Literal["fixed", "volume", "sqrt"] = Field(
        "sqrt",
        description="How far a fill is from the open: a fixed rate, linear in participation, or square-root impact.",
    )
    slippage_rate: float = Field(
        0.0002,
        ge=0,
        lt=0.1,
        description="Half-spread every fill pays, fraction of price, in all three models.",
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


class RiskConfig(BaseModel):
    """Limits of every book. Rules only shrink targets, and every cut is recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kelly_fraction: float = Field(
        0.25, gt=0, le=1, description="Share of the full Kelly bet mu / sigma^2."
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
    max_positions: int = Field(5, ge=1, description="Positions held at once.")
    max_asset_weight: float = Field(0.40, gt=0, le=1, description="Equity in one asset, fraction.")
    max_gross_weight: float = Field(
        1.0, gt=0, description="Sum of absolute weights; 1 means no borrowing."
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
