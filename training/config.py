"""How a model is trained: the frozen configuration of labels, splits, search and model."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class LabelConfig(BaseModel):
    """What the model learns to foresee, measured from the next bar's open."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["triple_barrier", "fixed_horizon"] = Field(
        "triple_barrier",
        description="Volatility-scaled barriers with a time barrier, or the return over a fixed horizon.",
    )
    horizon_bars: int = Field(
        24, ge=1, description="Time barrier of a label, or its fixed horizon, in bars."
    )
    take_profit: float = Field(
        1.0, gt=0, description="Upper barrier, in units of volatility over the horizon."
    )
    stop_loss: float = Field(
        1.0, gt=0, description="Lower barrier, in units of volatility over the horizon."
    )
    volatility_window: int = Field(
        72,
        ge=2,
        description="Bars of the trailing standard deviation of log returns that scales the barriers.",
    )
    flat_band: float = Field(
        0.5,
        ge=0,
        description="Fixed horizon only: returns within this many volatilities are class 0.",
    )
    time_decay: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Weight of the oldest sample relative to the newest; 1 means no decay.",
    )


class SplitConfig(BaseModel):
    """How time is cut. Purging is by label end, on every symbol at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: int = Field(4, ge=1, description="Test windows of the outer walk-forward.")
    test_days: float = Field(30.0, gt=0, description="Length of one test window, days.")
    train_days: float = Field(
        365.0, gt=0, description="Longest training span before a window, days."
    )
    expanding: bool = Field(
        False,
        description="Let every window train from where the oldest one does, so that later windows know more, instead of on train_days each.",
    )
    holdout_days: float = Field(
        0.0,
        ge=0,
        description="Newest days that no window, fold, search or final fit may see, scored once at the end. 0, as daily retraining needs the newest data; for a study set 60 or more.",
    )
    inner_folds: int = Field(
        3, ge=2, description="Purged folds inside a training span, seen by the search."
    )
    embargo_bars: int = Field(
        24, ge=0, description="Bars dropped from training after a test fold, beyond the purge."
    )


class SearchConfig(BaseModel):
    """How hyper-parameters are searched: on the inner purged folds of the oldest training span only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(20, ge=1, description="Trials a training run adds to its study.")
    objective: Literal["net_return", "log_loss"] = Field(
        "net_return",
        description="Net-of-cost result of the engine on out-of-fold scores, or log loss.",
    )
    seed: int = Field(7, ge=0, description="Seed of the sampler and of every model.")
    timeout_seconds: float | None = Field(
        None, gt=0, description="Stop starting trials after this long; null means no limit."
    )


class NullConfig(BaseModel):
    """Two checks that every training passes or is tagged unfit: labels without and with a known answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        True, description="Fit on shuffled and on time-shifted labels with every training."
    )
    shuffles: int = Field(1, ge=1, description="Shuffles of the labels; each must show no skill.")
    folds: int = Field(2, ge=2, description="Purged folds of each check.")
    every_bars: int = Field(
        12, ge=1, description="Fit and predict one bar in this many, staggered over the symbols."
    )
    level: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="One-sided confidence: how rarely a sound training may be called unfit.",
    )


class TrainingConfig(BaseModel):
    """One training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("xgboost", description="Model of training/models/.")
    model_params: dict[str, Any] = Field(
        default_factory=dict, description="Parameters fixed by hand, not searched."
    )
    threads: int = Field(2, ge=1, description="Threads a fit may use.")
    sample_every_bars: int = Field(
        6,
        ge=1,
        description="Fit on one bar in this many, staggered over the symbols; overlapping labels repeat themselves. 1 means all.",
    )
    calibration: Literal["isotonic", "sigmoid", "none"] = Field(
        "sigmoid", description="How out-of-fold scores become calibrated probabilities."
    )
    interval_level: float = Field(
        0.8, gt=0, lt=1, description="Coverage of the interval around the expected return."
    )
    label: LabelConfig = LabelConfig()
    split: SplitConfig = SplitConfig()
    search: SearchConfig = SearchConfig()
    nulls: NullConfig = NullConfig()
