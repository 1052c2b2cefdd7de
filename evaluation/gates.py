"""What a trained model must show on windows it never saw, each gate a row with number and bound.

Gates inform: a training that fails some is registered all the same and trades on paper, where evidence
is made. What could not be measured was not shown: its gate is failed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Rule = Literal["above", "at least", "at most", "below"]


class GateConfig(BaseModel):
    """What a training must show. Gates inform and never block: failed ones are tags and lines of the card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_return: float = Field(
        0.0, description="Return after costs on the test windows, above this [fraction]."
    )
    sharpe_lead: float = Field(
        0.0, description="Annual Sharpe ratio less that of buying and holding, above this."
    )
    max_drawdown: float = Field(
        0.25, ge=0, le=1, description="Deepest fall from a peak, at most this [fraction]."
    )
    skill: float = Field(
        0.0,
        description="Lower bound of the log-loss skill against the training's class shares, above this [nats].",
    )
    calibration_error: float = Field(
        0.05,
        ge=0,
        description="Expected calibration error of the likeliest class, at most this [probability].",
    )
    interval_miss: float = Field(
        0.1,
        ge=0,
        description="Distance of the intervals' measured coverage from interval_level, at most this; overlapping labels make it noisy.",
    )
    deflated_sharpe: float = Field(
        0.95,
        ge=0,
        le=1,
        description="Probability that the Sharpe ratio is above what searching alone would have shown, at least this.",
    )
    overfitting: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Probability of backtest overfitting of the search, at most this; 0.5 is chance.",
    )
    superior_p: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="p-value against holding cash, at most this (superior predictive ability).",
    )
    track_record: float = Field(
        1.0,
        gt=0,
        description="Length of the record over the length that would prove its Sharpe ratio, at least this.",
    )


@dataclass(frozen=True)
class Gate:
    """One requirement: what was observed, the rule and bound, and whether it held.

    `observed` is NaN where nothing could be measured.
    """

    name: str
    observed: float
    rule: Rule
    bound: float
    passed: bool
    meaning: str

    def as_json(self) -> dict[str, Any]:
        """Return the gate as plain JSON types."""
        return asdict(self)


class _Row(NamedTuple):
    name: str
    observed: str
    rule: Rule
    bound: str | None
    meaning: str


_ROWS = (
    _Row("no_overlap", "overlaps", "at most", None, "training labels that overlap a test interval"),
    _Row("beats_flat", "total_return", "above", "total_return", "return after costs against cash"),
    _Row(
        "beats_buy_and_hold",
        "sharpe_lead",
        "above",
        "sharpe_lead",
        "Sharpe ratio after costs less that of buying and holding",
    ),
    _Row(
        "drawdown", "max_drawdown", "at most", "max_drawdown", "deepest fall of equity from a peak"
    ),
    _Row(
        "beats_base_rate",
        "skill_lower",
        "above",
        "skill",
        "lower bound of the log loss of the training's class shares less the model's",
    ),
    _Row(
        "calibrated",
        "calibration_error",
        "at most",
        "calibration_error",
        "mean distance of probabilities from how often they came true, out of fold",
    ),
    _Row(
        "interval_honest",
        "interval_miss",
        "at most",
        "interval_miss",
        "distance of the interval's measured coverage from its level",
    ),
    _Row(
        "deflated_sharpe",
        "deflated_sharpe",
        "at least",
        "deflated_sharpe",
        "probability that the Sharpe ratio is above what all trials so far would show by chance",
    ),
    _Row(
        "overfitting",
        "overfitting",
        "at most",
        "overfitting",
        "how often the best trial of one half of the search's days is below the middle on the other",
    ),
    _Row(
        "superior",
        "superior_p",
        "at most",
        "superior_p",
        "p-value of earning no more than cash",
    ),
    _Row(
        "track_record",
        "track_record",
        "at least",
        "track_record",
        "length of the record over the length that would prove a Sharpe ratio above zero",
    ),
)
_HOLDOUT = _Row(
    "holdout",
    "holdout_skill",
    "above",
    "skill",
    "log-loss skill on the hold-out that nothing had looked at",
)


def walk_forward_gates(observed: Mapping[str, float], config: GateConfig) -> list[Gate]:
    """Judge a walk-forward by what was observed on its test windows together.

    Parameters
    ----------
    observed : mapping
        `overlaps`, `total_return` [fraction], `sharpe_lead`, `max_drawdown` [fraction, a fall is
        positive], `skill_lower` [nats], `calibration_error`, `interval_miss`, `deflated_sharpe`,
        `overfitting`, `superior_p` [probabilities], `track_record` [1 is long enough]; with a hold-out
        also `holdout_skill` [nats]. NaN or absent is what could not be measured.
    config : GateConfig
    """
    rows = [*_ROWS, *([_HOLDOUT] if "holdout_skill" in observed else [])]
    return [
        gate(
            row.name,
            observed.get(row.observed, float("nan")),
            row.rule,
            0.0 if row.bound is None else getattr(config, row.bound),
            row.meaning,
        )
        for row in rows
    ]


def gate(name: str, observed: float, rule: Rule, bound: float, meaning: str) -> Gate:
    """Return one gate, passed if `observed` keeps the rule; NaN keeps none."""
    held = {
        "above": observed > bound,
        "at least": observed >= bound,
        "at most": observed <= bound,
        "below": observed < bound,
    }
    return Gate(name, float(observed), rule, float(bound), bool(held[rule]), meaning)
