"""What out-of-fold forecasts are worth."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.evidence import forecast_evidence

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
N = 600


def scored(informed, seed=3):
    rng = np.random.default_rng(seed)
    outcome = rng.integers(0, 3, N)
    hint = np.where(rng.random(N) < 0.6, outcome, rng.integers(0, 3, N)) if informed else None
    proba = np.full((N, 3), 1 / 3) + rng.uniform(-0.01, 0.01, (N, 3))
    if hint is not None:
        proba = np.full((N, 3), 0.15)
        proba[np.arange(N), hint] = 0.7
    proba /= proba.sum(axis=1, keepdims=True)
    realised = (outcome - 1) * 0.01 + rng.normal(0, 0.002, N)
    expected = (proba[:, 2] - proba[:, 0]) * 0.01
    return pl.DataFrame(
        {
            "known_at": [START + place // 2 * HOUR for place in range(N)],
            "p_down": proba[:, 0],
            "p_flat": proba[:, 1],
            "p_up": proba[:, 2],
            "expected_return": expected,
            "lower": expected - 0.02,
            "upper": expected + 0.02,
            "outcome": outcome,
            "realised_return": realised,
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )


def evidence(frame, **given):
    base = np.full((frame.height, 3), 1 / 3)
    return forecast_evidence(frame, base, interval_level=0.8, horizon_bars=6, paths=200, **given)


def test_a_forecast_with_information_has_skill_and_honest_numbers():
    found = evidence(scored(True))
    assert found.skill.lower > 0.1
    assert found.accuracy.value == pytest.approx(0.73, abs=0.05)
    assert found.accuracy.lower < found.accuracy.value < found.accuracy.upper
    assert found.coverage.measured.value > 0.98
    assert found.skill.block_bars >= 6
    assert found.returns.slope.lower > 0
    assert found.confidence.height == 10
    assert (found.before, found.regimes) == (None, None)


def test_a_forecast_without_information_has_none():
    found = evidence(scored(False))
    assert found.skill.lower < 0 < found.skill.upper + 0.01


def test_calibration_before_and_after_are_two_curves():
    frame = scored(True)
    raw = frame.select("p_down", "p_flat", "p_up").to_numpy() ** 3
    found = evidence(frame, raw=raw / raw.sum(axis=1, keepdims=True))
    assert found.before.error.value > found.after.error.value


def test_rows_without_outcome_or_state_are_left_out():
    frame = scored(True).with_columns(
        outcome=pl.when(pl.int_range(N) < N - 50).then("outcome"),
        realised_return=pl.when(pl.int_range(N) < N - 50).then("realised_return"),
    )
    regime = np.where(np.arange(N) % 3 == 0, -1, np.arange(N) % 2)
    found = evidence(frame, regime=regime, regime_names=("calm", "storm"))
    assert found.confidence["rows"].sum() == N - 50
    assert found.regimes["regime"].to_list() == ["calm", "storm"]
    assert found.as_json()["regimes"][0]["regime"] == "calm"
    nowhere = evidence(frame, regime=np.full(N, -1), regime_names=("calm", "storm"))
    assert nowhere.regimes is None


def test_too_few_instants_are_answered_by_none_and_the_reason():
    few = evidence(scored(True).head(10))
    assert (few.accuracy, few.skill, few.coverage, few.returns) == (None, None, None, None)
    assert {"accuracy", "skill", "coverage", "returns"} <= set(few.untold)
    assert "needs 8 instants or more" in few.as_json()["untold"]["skill"]
    assert evidence(scored(True)).untold == {}
    with pytest.raises(ValueError, match="no outcome"):
        evidence(scored(True).with_columns(outcome=pl.lit(None, pl.Int64)))
