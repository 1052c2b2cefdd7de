"""The gates of a promotion, each of which fails alone, and the choice among those who pass."""

import math

import numpy as np
import pytest

from evaluation.promotion.candidacy import GATES, candidacy, live_deflated_sharpe, successor
from evaluation.promotion.config import PromotionConfig

CONFIG = PromotionConfig()
BOUND = 40.0
SHOWN = {
    "evidence": 40.0,
    "log_loss": 39.9,
    "bars": 720.0,
    "trades": 10.0,
    "drawdown": 0.2,
    "deflated_sharpe": 0.5,
    "overfitting": 0.5,
    "calibrated": 0.05,
    "no_leak": 0.0,
    "no_drift": 0.0,
    "data_quality": 0.0,
    "feature_set": 0.0,
    "reproducible": 1e-6,
}
WORSE = {
    "evidence": 39.9,
    "log_loss": 40.0,
    "bars": 719.0,
    "trades": 9.0,
    "drawdown": 0.21,
    "deflated_sharpe": 0.49,
    "overfitting": 0.51,
    "calibrated": 0.051,
    "no_leak": 1.0,
    "no_drift": 1.0,
    "data_quality": 1.0,
    "feature_set": 1.0,
    "reproducible": 2e-6,
}


def test_who_just_keeps_every_bound_may_be_promoted() -> None:
    found = candidacy("2", SHOWN, BOUND, CONFIG)
    assert found.failed == ()
    assert tuple(gate.name for gate in found.gates) == GATES
    assert found.evidence == 40.0


@pytest.mark.parametrize("name", GATES)
def test_each_gate_fails_alone_and_only_where_it_is_required(name: str) -> None:
    assert candidacy("2", SHOWN | {name: WORSE[name]}, BOUND, CONFIG).failed == (name,)
    others = tuple(gate for gate in GATES if gate != name)
    lenient = CONFIG.model_copy(update={"required": others})
    assert candidacy("2", SHOWN | {name: WORSE[name]}, BOUND, lenient).failed == ()


@pytest.mark.parametrize("name", GATES)
def test_what_was_not_measured_was_not_shown(name: str) -> None:
    unknown = {key: value for key, value in SHOWN.items() if key != name}
    assert candidacy("2", unknown, BOUND, CONFIG).failed == (name,)


def test_of_those_who_pass_the_one_of_most_evidence_succeeds() -> None:
    passed = [
        candidacy(v, SHOWN | {"evidence": e}, BOUND, CONFIG) for v, e in (("2", 50.0), ("3", 90.0))
    ]
    failed = candidacy("4", SHOWN | {"evidence": 900.0, "trades": 0.0}, BOUND, CONFIG)
    chosen = successor([*passed, failed])
    assert chosen is not None
    assert chosen.version == "3"
    unknown = candidacy(
        "5", SHOWN | {"evidence": math.nan}, BOUND, PromotionConfig(required=("bars",))
    )
    assert successor([unknown, *passed]) == passed[1]
    assert successor([unknown]) == unknown
    assert successor([failed]) is None
    assert successor([]) is None


def test_a_live_record_is_charged_for_every_rival() -> None:
    returns = np.random.default_rng(3).normal(2e-4, 4e-3, 2_000)
    alone, among = (live_deflated_sharpe(returns, 8_760.0, rivals) for rivals in (1, 20))
    assert 0.5 < among < alone < 1.0
    assert math.isnan(live_deflated_sharpe(np.zeros(100), 8_760.0, 1))
    assert math.isnan(live_deflated_sharpe(returns[:1], 8_760.0, 1))


def test_worthless_rivals_seldom_look_better_than_the_best_of_them_would() -> None:
    """The best of five records without any mean passes at 0.5 about as often as not."""
    rng = np.random.default_rng(11)
    best = []
    for _ in range(200):
        records = rng.normal(0.0, 0.004, (5, 1_000))
        best.append(max(live_deflated_sharpe(record, 8_760.0, 5) for record in records))
    assert 0.35 < np.mean(np.array(best) > 0.5) < 0.65
