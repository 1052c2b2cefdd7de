"""Gates: each a row with its number, its rule, its bound and its verdict."""

import math

import pytest
from pydantic import ValidationError

from evaluation.gates import GateConfig, gate, walk_forward_gates

SHIPPED = GateConfig()
GOOD = {
    "overlaps": 0,
    "total_return": 0.1,
    "sharpe_lead": 0.2,
    "max_drawdown": 0.1,
    "skill_lower": 0.01,
    "calibration_error": 0.02,
    "interval_miss": 0.05,
    "deflated_sharpe": 0.97,
    "overfitting": 0.2,
    "superior_p": 0.01,
    "track_record": 1.5,
}


def verdicts(config=SHIPPED, **changes):
    return {one.name: one.passed for one in walk_forward_gates({**GOOD, **changes}, config)}


def test_a_good_walk_forward_passes_every_gate():
    assert verdicts() == dict.fromkeys(
        (
            "no_overlap",
            "beats_flat",
            "beats_buy_and_hold",
            "drawdown",
            "beats_base_rate",
            "calibrated",
            "interval_honest",
            "deflated_sharpe",
            "overfitting",
            "superior",
            "track_record",
        ),
        True,
    )


@pytest.mark.parametrize(
    ("name", "observed", "value"),
    [
        ("no_overlap", "overlaps", 1),
        ("beats_flat", "total_return", 0.0),
        ("beats_buy_and_hold", "sharpe_lead", -0.1),
        ("drawdown", "max_drawdown", 0.26),
        ("beats_base_rate", "skill_lower", -0.001),
        ("calibrated", "calibration_error", 0.06),
        ("interval_honest", "interval_miss", 0.15),
        ("deflated_sharpe", "deflated_sharpe", 0.94),
        ("overfitting", "overfitting", 0.51),
        ("superior", "superior_p", 0.06),
        ("track_record", "track_record", 0.99),
    ],
)
def test_each_gate_fails_alone_and_when_nothing_was_measured(name, observed, value):
    failed = [one for one, passed in verdicts(**{observed: value}).items() if not passed]
    assert failed == [name]
    unknown = [one for one, passed in verdicts(**{observed: math.nan}).items() if not passed]
    assert unknown == [name]


def test_bounds_are_configured():
    assert not verdicts(GateConfig(total_return=0.2))["beats_flat"]
    assert verdicts(GateConfig(deflated_sharpe=0.5), deflated_sharpe=0.6)["deflated_sharpe"]
    with pytest.raises(ValidationError, match="superior_p"):
        GateConfig(superior_p=0)


def test_a_hold_out_is_a_gate_only_where_there_is_one():
    assert "holdout" not in verdicts()
    assert verdicts(holdout_skill=0.01)["holdout"]
    assert not verdicts(holdout_skill=-0.01)["holdout"]


def test_a_gate_is_a_row_of_plain_types():
    assert gate("beats_flat", 0.1, "above", 0, "return after costs").as_json() == {
        "name": "beats_flat",
        "observed": 0.1,
        "rule": "above",
        "bound": 0.0,
        "passed": True,
        "meaning": "return after costs",
    }
