"""How a model is trained: the frozen configuration of labels, splits, search and model."""

from math import prod
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from evaluation.gates import GateConfig


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
    extra_horizons: tuple[int, ...] = Field(
        (),
        description="Further horizons, in bars, that the members of `multi_horizon` learn beside horizon_bars, e.g. [8, 72]; splits purge by the longest. Empty, it learns a third and three times of it.",
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

    @field_validator("extra_horizons")
    @classmethod
    def _whole_bars(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(bars < 1 for bars in value) or len(set(value)) < len(value):
            raise ValueError("give whole numbers of bars from 1 on, each once, e.g. [8, 72]")
        return value

    @model_validator(mode="after")
    def _other_horizons(self) -> Self:
        if self.horizon_bars in self.extra_horizons:
            raise ValueError(
                f"label.extra_horizons has {self.horizon_bars}, which is label.horizon_bars already; "
                "leave it out"
            )
        return self

    @property
    def longest_horizon_bars(self) -> int:
        """Bars after which everything that is learned from a row is known."""
        return max((self.horizon_bars, *self.extra_horizons))

    def with_neighbours(self) -> "LabelConfig":
        """Return the same label with a third and three times of its horizon as further ones."""
        around = {max(1, self.horizon_bars // 3), 3 * self.horizon_bars} - {self.horizon_bars}
        return self.model_copy(update={"extra_horizons": tuple(sorted(around))})

    def at_horizon(self, bars: int) -> "LabelConfig":
        """Return the same label over another horizon."""
        return self.model_copy(update={"horizon_bars": bars, "extra_horizons": ()})


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

    trials: int = Field(20, ge=1, description="Trials of a training's study.")
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="Time a study may take over all its runs; no trial is begun that would end later. null means no limit.",
    )
    objective: Literal["net_return", "log_loss"] = Field(
        "net_return",
        description="Net-of-cost result of the engine on out-of-fold scores, or log loss.",
    )
    pruner: Literal["wilcoxon", "halving", "none"] = Field(
        "wilcoxon",
        description="When a trial is given up between folds: when it is worse than the best one fold by fold (signed-rank test), by successive halving, or never.",
    )
    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Parameters whose values are tried in turn, e.g. {max_depth: [3, 5]}; the sampler suggests the others.",
    )
    warm_start: bool = Field(
        True,
        description="The first trial takes the parameters of the champion of that time, or of the last training, if it is of the same model and its search saw none of the new test windows.",
    )
    batch: int = Field(
        4,
        ge=1,
        description="Trials suggested together, from the trials before them: as many can run at once with one result.",
    )
    workers: int = Field(
        1,
        ge=1,
        description="Processes, or mapped tasks, that work on one study; the result does not depend on it. Each takes `training.threads`.",
    )
    seed: int = Field(7, ge=0, description="Seed of the sampler and of every model.")

    @model_validator(mode="after")
    def _enough_trials(self) -> Self:
        combinations = prod(len(values) for values in self.grid.values())
        if combinations == 0 or combinations > self.trials:
            raise ValueError(
                f"search.grid has {combinations} combinations and search.trials is {self.trials}; "
                "give every parameter a value, and at least a trial to each combination"
            )
        return self


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


class SelectionConfig(BaseModel):
    """Which features a fit is given; every fit chooses for itself, from its training rows only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["none", "mutual_information", "clusters", "pca"] = Field(
        "mutual_information",
        description="All features, those that say most about the class, the best of each cluster of correlated ones, or each cluster's first principal component.",
    )
    keep: int = Field(150, ge=1, description="Columns that a fit is given at most.")
    max_correlation: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="Mean absolute rank correlation above which features are one cluster.",
    )


class ImportanceConfig(BaseModel):
    """How much a fit's features matter, measured on the span's purged out-of-fold rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: int = Field(
        25,
        ge=0,
        description="Features, the largest by gain, that are permuted, alone and with all that correlate with them. 0 measures none.",
    )
    rows: int = Field(
        2000, ge=100, description="Out-of-fold rows of each fold that are predicted for it."
    )
    block_days: float = Field(
        30.0, gt=0, description="Values are exchanged within spans of this length only, days."
    )


class EvidenceConfig(BaseModel):
    """How a training is judged; the numbers are the same whatever the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(
        0.9, gt=0.5, lt=1, description="Coverage of the intervals around metrics, two-sided."
    )
    paths: int = Field(
        1000, ge=100, description="Paths of every stationary bootstrap behind intervals and tests."
    )
    combinatorial_groups: int = Field(
        0,
        ge=0,
        le=16,
        description="Blocks of history of which every two are predicted from the others: n (n - 1) / 2 more fits for n - 1 backtest paths and their Sharpe ratios. 0 does none; 6 makes 15 fits.",
    )

    @field_validator("combinatorial_groups")
    @classmethod
    def _enough_groups(cls, value: int) -> int:
        if 0 < value < 4:
            raise ValueError(f"{value} groups make no paths worth the name; use 0, or 4 or more")
        return value


class TrainingConfig(BaseModel):
    """One training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("xgboost", description="Model of training/models/.")
    model_params: dict[str, Any] = Field(
        default_factory=dict, description="Parameters fixed by hand, not searched."
    )
    members: tuple[str, ...] = Field(
        (),
        description="Models that an ensemble (voting, stacking, blending, multi_horizon) is made of, e.g. [xgboost, lightgbm]; a model that is there twice is told apart by a dash: [xgboost, xgboost-deep]. Empty means lightgbm and logistic.",
    )
    member_params: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Parameters of members fixed by hand, by member; the others are searched together.",
    )
    scope: Literal["global", "symbol", "cluster"] = Field(
        "global",
        description="One model for all symbols, or one a symbol or a cluster of symbols beside it.",
    )
    clusters: int = Field(
        3, ge=2, description="Clusters of symbols whose returns move together, for scope cluster."
    )
    group_min_rows: int = Field(
        500,
        ge=1,
        description="Rows, after thinning, from which a symbol or cluster gets a model of its own; the others use the global one.",
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
    interval_groups: int = Field(
        3,
        ge=1,
        le=10,
        description="Groups of volatility, equally filled, that get bounds of their own; 1 shares them.",
    )
    label: LabelConfig = Field(LabelConfig(), validate_default=True)
    split: SplitConfig = SplitConfig()
    search: SearchConfig = SearchConfig()
    nulls: NullConfig = NullConfig()
    selection: SelectionConfig = SelectionConfig()
    importance: ImportanceConfig = ImportanceConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    gates: GateConfig = GateConfig()

    @field_validator("label")
    @classmethod
    def _several_horizons(cls, label: LabelConfig, given: ValidationInfo) -> LabelConfig:
        alone = given.data.get("model") == "multi_horizon" and not label.extra_horizons
        return label.with_neighbours() if alone else label
