"""Gates: each a row with its number, its bound and its verdict."""

import math

from evaluation.gates import walk_forward_gates

GOOD = {
    "total_return": 0.1,
    "sharpe": 1.2,
    "log_loss": 0.9,
    "base_rate_log_loss": 1.0,
    "interval_coverage": 0.75,
}


def verdicts(**changes):
    arguments = {"buy_and_hold": {"sharpe": 1.0}, "overlaps": 0, **changes}
    model = {**GOOD, **arguments.pop("model", {})}
    gates = walk_forward_gates(model, interval_level=0.8, **arguments)
    return {gate.name: gate.passed for gate in gates}


def test_a_good_walk_forward_passes_every_gate():
    assert verdicts() == dict.fromkeys(
        ("no_overlap", "beats_flat", "beats_buy_and_hold", "beats_base_rate", "interval_honest"),
        True,
    )


def test_each_gate_fails_alone():
    assert not verdicts(overlaps=1)["no_overlap"]
    assert not verdicts(model={"total_return": 0.0})["beats_flat"]
    assert not verdicts(buy_and_hold={"sharpe": 1.3})["beats_buy_and_hold"]
    assert not verdicts(model={"log_loss": 1.01})["beats_base_rate"]
    assert not verdicts(model={"interval_coverage": 0.65})["interval_honest"]


def test_a_model_that_never_traded_does_not_beat_holding():
    assert not verdicts(model={"sharpe": math.nan})["beats_buy_and_hold"]


def test_a_gate_is_a_row_of_plain_types():
    row = walk_forward_gates(GOOD, {"sharpe": 1.0}, overlaps=0, interval_level=0.8)[1].as_json()
    assert row == {
        "name": "beats_flat",
        "observed": 0.1,
        "bound": 0,
        "passed": True,
        "meaning": "return after costs against holding cash",
    }
