"""Predicted against actual."""

import math

import polars as pl
import pytest

from evaluation.forecast import forecast_metrics, pooled


def frame(**changes):
    columns = {
        "p_down": [0.5, 0.2, 0.1, 0.1],
        "p_flat": [0.25, 0.2, 0.1, 0.1],
        "p_up": [0.25, 0.6, 0.8, 0.8],
        "expected_return": [-0.01, 0.02, 0.04, 0.04],
        "lower": [-0.03, -0.01, 0.01, 0.0],
        "upper": [0.01, 0.03, 0.05, 0.1],
        "outcome": [0, 1, 2, None],
        "realised_return": [-0.02, -0.02, 0.03, None],
    }
    return pl.DataFrame({**columns, **changes})


def test_metrics_of_known_forecasts():
    metrics = forecast_metrics(frame(), (0.25, 0.5, 0.25))
    assert metrics["rows"] == 3
    assert metrics["log_loss"] == pytest.approx(
        -(math.log(0.5) + math.log(0.2) + math.log(0.8)) / 3
    )
    assert metrics["base_rate_log_loss"] == pytest.approx((2 * math.log(4) + math.log(2)) / 3)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["directional_accuracy"] == pytest.approx(2 / 3)
    assert metrics["confident_directional_accuracy"] == 1.0
    assert metrics["interval_coverage"] == pytest.approx(2 / 3)
    assert metrics["return_correlation"] == pytest.approx(0.8030, abs=1e-4)


def test_a_constant_expectation_has_no_correlation():
    assert (
        forecast_metrics(frame(expected_return=[0.01] * 4), (0.3, 0.4, 0.3))["return_correlation"]
        == 0.0
    )


def test_unknown_outcomes_alone_are_refused():
    unknown = frame().filter(pl.col("outcome").is_null())
    with pytest.raises(ValueError, match="nothing can be measured"):
        forecast_metrics(unknown, (0.3, 0.4, 0.3))


def test_pooling_weighs_by_rows():
    together = pooled([{"rows": 1.0, "brier": 0.2}, {"rows": 3.0, "brier": 0.6}])
    assert together == {"rows": 4.0, "brier": pytest.approx(0.5)}
