"""What a trained model must show on windows it never saw, each gate a row with number and bound."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """One requirement: what was observed, the bound, and whether it held."""

    name: str
    observed: float
    bound: float
    passed: bool
    meaning: str

    def as_json(self) -> dict[str, Any]:
        """Return the gate as plain JSON types."""
        return asdict(self)


def walk_forward_gates(
    model: Mapping[str, float],
    buy_and_hold: Mapping[str, float],
    *,
    overlaps: int,
    interval_level: float,
    coverage_tolerance: float = 0.1,
) -> list[Gate]:
    """Judge a walk-forward by its out-of-fold scores and the engine's net result.

    Parameters
    ----------
    model : mapping
        `total_return` [fraction], `sharpe`, `log_loss`, `base_rate_log_loss` [nats], `interval_coverage`
        [fraction] of all test windows together.
    buy_and_hold : mapping
        `sharpe` of the baseline over the same bars.
    overlaps : int
        Training labels that overlapped a test interval, over every split of the run.
    interval_level : float
        Coverage that the interval promises.
    coverage_tolerance : float
        How far the measured coverage may be from it; overlapping labels make it noisy.
    """
    skill = model["base_rate_log_loss"] - model["log_loss"]
    miss = abs(model["interval_coverage"] - interval_level)
    lead = model["sharpe"] - buy_and_hold["sharpe"]
    return [
        Gate(
            "no_overlap",
            overlaps,
            0,
            overlaps == 0,
            "training labels that overlap a test interval",
        ),
        Gate(
            "beats_flat",
            model["total_return"],
            0,
            model["total_return"] > 0,
            "return after costs against holding cash",
        ),
        Gate(
            "beats_buy_and_hold",
            lead,
            0,
            lead > 0,
            "Sharpe ratio after costs less that of buying and holding",
        ),
        Gate(
            "beats_base_rate",
            skill,
            0,
            skill > 0,
            "log loss of the training's class shares less the model's",
        ),
        Gate(
            "interval_honest",
            miss,
            coverage_tolerance,
            miss <= coverage_tolerance,
            "distance of the interval's measured coverage from its level",
        ),
    ]
