"""What a promotion takes, and what ends a reign: settled in configuration, never by the data."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["automatic", "approve", "manual"]
GateName = Literal[
    "evidence",
    "log_loss",
    "bars",
    "trades",
    "drawdown",
    "deflated_sharpe",
    "overfitting",
    "calibrated",
    "no_leak",
    "no_drift",
    "data_quality",
    "feature_set",
    "reproducible",
]


class GuardConfig(BaseModel):
    """What a champion must not do; the one before it takes the role back from the next hour on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drawdown: float = Field(
        0.15,
        gt=0,
        le=1,
        description="Deepest fall of its book from the peak of its reign that is borne [fraction].",
    )
    loss: float = Field(
        0.10,
        gt=0,
        le=1,
        description="Largest loss of its book over loss_hours that is borne [fraction].",
    )
    loss_hours: float = Field(168.0, gt=0, description="Span of that loss, within its reign.")
    calibration: bool = Field(
        True,
        description="Whether an alarm of check_drift on what came of its scores ends a reign.",
    )


class PromotionConfig(BaseModel):
    """What a challenger must show to become champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Field(
        "automatic",
        description="automatic: evidence decides; approve: a person does, asked in Airflow; manual: nobody is asked, `hourglass promote` or an alias in MLflow.",
    )
    approval_hours: float = Field(
        12.0,
        gt=0,
        le=23,
        description="A proposal that nobody answered for so long is rejected; the next round is a day later.",
    )
    propose_every_days: float = Field(
        7.0, gt=0, description="A challenger that was rejected is proposed again after so long."
    )
    required: tuple[GateName, ...] = Field(
        (
            "evidence",
            "log_loss",
            "bars",
            "trades",
            "drawdown",
            "deflated_sharpe",
            "overfitting",
            "calibrated",
            "no_leak",
            "no_drift",
            "data_quality",
            "feature_set",
            "reproducible",
        ),
        description="Gates that must hold; the others are told and do not count.",
    )
    bars: int = Field(
        720, ge=1, description="Bars that both books traded since they met, at least."
    )
    trades: int = Field(10, ge=1, description="Fills of the challenger since they met, at least.")
    drawdown: float = Field(
        0.20, gt=0, le=1, description="Deepest fall of the challenger since they met, at most."
    )
    deflated_sharpe: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Probability that its Sharpe ratio since they met is above the best that as many worthless challengers would show, at least.",
    )
    overfitting: float = Field(
        0.5, ge=0, le=1, description="Probability of backtest overfitting of its search, at most."
    )
    calibration_error: float = Field(
        0.05, ge=0, le=1, description="Calibration error on its test windows, at most."
    )
    quality_hours: float = Field(
        168.0, gt=0, description="No hour so far back was refused by a check of its data."
    )
    score_difference: float = Field(
        1e-6,
        ge=0,
        description="Scores of the last day, made again, differ from those on file by at most this.",
    )
    guard: GuardConfig = GuardConfig()
