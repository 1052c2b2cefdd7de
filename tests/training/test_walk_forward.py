"""The walk-forward: which spans, and what a fit may know."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from serving.scorer import Scorer
from training.config import TrainingConfig
from training.panel import build_panel
from training.walk_forward import (
    Window,
    class_returns,
    fit_span,
    history_needed,
    plan_windows,
    score_rows,
)

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=40)
PARAMS = {"rounds": 20, "max_depth": 3}


@pytest.fixture
def panel(bars, features, config):
    return build_panel(bars, features, config.label, timeframe=HOUR, end=END)


def fit(panel, config, start=START, end=START + timedelta(days=24)):
    return fit_span(panel, PARAMS, config, start=start, end=end, feature_set="abc", name="w")


def test_windows_go_back_from_one_horizon_before_as_of():
    as_of = datetime(2024, 12, 1, tzinfo=UTC)
    windows = plan_windows(
        as_of, datetime(2023, 1, 1, 1, tzinfo=UTC), TrainingConfig(), timeframe=HOUR
    )
    assert [w.number for w in windows] == [0, 1, 2, 3]
    assert windows[-1].test_end == datetime(2024, 11, 30, tzinfo=UTC)
    assert windows[-1].test_start == datetime(2024, 10, 31, tzinfo=UTC)
    assert windows[-1].train_start == datetime(2023, 11, 1, tzinfo=UTC)
    assert windows[0].test_start == datetime(2024, 8, 2, tzinfo=UTC)
    for before, after in pairwise(windows):
        assert before.test_end == after.test_start


def test_training_spans_are_cut_at_the_first_row_of_history():
    as_of = datetime(2024, 12, 1, tzinfo=UTC)
    first = datetime(2023, 11, 1, 1, tzinfo=UTC)
    windows = plan_windows(as_of, first, TrainingConfig(), timeframe=HOUR)
    assert windows[0].train_start == datetime(2023, 11, 1, tzinfo=UTC)


def test_too_little_history_is_refused_with_what_is_needed():
    as_of = datetime(2024, 12, 1, tzinfo=UTC)
    with pytest.raises(
        ValueError,
        match=r"140\.0 days before; 4 test windows of 30 days and 90\.0 days of training before them take 211\.0",
    ):
        plan_windows(as_of, datetime(2024, 7, 14, 1, tzinfo=UTC), TrainingConfig(), timeframe=HOUR)


def test_history_covers_the_longest_training_all_windows_and_a_horizon():
    assert history_needed(TrainingConfig(), timeframe=HOUR) == timedelta(days=365 + 120 + 1)


def test_a_window_survives_json():
    window = Window(2, START, START + HOUR, START + 2 * HOUR)
    assert Window.from_json(window.as_json()) == window


def test_class_returns_are_weighted_means_and_zero_for_an_absent_class():
    scaled, outcome = np.array([-1.0, -2.0, 0.5]), np.array([0, 0, 1])
    assert class_returns(scaled, outcome, np.array([1.0, 3.0, 1.0])) == (-1.75, 0.5, 0.0)


def test_a_fit_finds_the_signal_out_of_sample(panel, config):
    fitted = fit(panel, config)
    test = panel.rows_between(START + timedelta(days=24), START + timedelta(days=36))
    scored = score_rows(fitted.scorer, panel, test).join(
        panel.outcomes(test), on=["venue", "symbol", "known_at"]
    )
    known = scored.drop_nulls("outcome")
    correlation = known.select(pl.corr("expected_return", "realised_return")).item()
    assert correlation > 0.2
    inside = known.select(
        pl.col("realised_return").is_between(pl.col("lower"), pl.col("upper")).mean()
    ).item()
    assert 0.7 < inside < 0.9
    assert (
        known.select((pl.sum_horizontal("p_down", "p_flat", "p_up") - 1).abs().max()).item() < 1e-9
    )


def test_a_fit_depends_on_nothing_after_its_span(panel, config, bars, features):
    end = START + timedelta(days=24)
    cut = build_panel(
        bars.filter(pl.col("known_at") <= end),
        features.filter(pl.col("known_at") <= end),
        config.label,
        timeframe=HOUR,
        end=end,
    )
    newest = panel.observations(np.arange(len(panel.X) - 50, len(panel.X)))
    with_future = fit(panel, config).scorer.score(newest)
    without = fit(cut, config).scorer.score(newest)
    for name, values in with_future.items():
        assert np.array_equal(values, without[name], equal_nan=True)


def test_a_fit_says_what_it_checked_and_what_it_is(panel, config):
    fitted = fit(panel, config)
    assert [audit.name for audit in fitted.audits] == ["w fold 0", "w fold 1"]
    assert [audit.overlaps for audit in fitted.audits] == [0, 0]
    assert fitted.fitted_rows == pytest.approx(fitted.rows / 2, rel=0.02)
    assert sum(fitted.class_shares) == pytest.approx(1)
    spec = fitted.scorer.spec
    assert (spec.feature_set, spec.horizon_bars) == ("abc", 12)
    assert spec.train_end == START + timedelta(days=24)
    assert len(spec.residual_bounds.bounds) == 3
    assert all(below < 0 < above for below, above in spec.residual_bounds.bounds)
    assert fitted.importance.gain.sum() == pytest.approx(1)


def test_a_span_without_labels_is_refused(panel, config):
    with pytest.raises(ValueError, match="0 instants cannot make 2 folds"):
        fit(panel, config, end=START + timedelta(days=1))


def test_the_splits_inside_an_ensemble_are_audited_with_the_span(bars, features, config):
    panel = build_panel(bars, features, config.label, timeframe=HOUR, end=END)
    ensemble = config.model_copy(
        update={"model": "stacking", "members": ("logistic",), "model_params": {"folds": 2}}
    )
    span = fit_span(
        panel,
        {},
        ensemble,
        start=START,
        end=START + timedelta(days=30),
        feature_set="abc",
        name="span",
    )
    names = [audit.name for audit in span.audits]
    # Two calibration folds and the final fit, each with two folds of its own.
    assert names == ["span fold 0", "span fold 1", *["ensemble fold 0", "ensemble fold 1"] * 3]
    assert {audit.overlaps for audit in span.audits} == {0}
    assert span.scorer.spec.predictor == "stacking"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "multi_horizon", "members": ("logistic",), "model_params": {"folds": 2}},
        {"scope": "symbol", "group_min_rows": 100},
    ],
    ids=["multi_horizon", "scope"],
)
def test_a_model_of_models_goes_through_a_whole_span_and_its_files(
    bars, features, config, tmp_path, changes
):
    label = config.label.model_copy(update={"extra_horizons": (4,)})
    panel = build_panel(bars, features, label, timeframe=HOUR, end=END)
    wanted = config.model_copy(update={**changes, "label": label})
    end = START + timedelta(days=24)
    span = fit_span(panel, {}, wanted, start=START, end=end, feature_set="abc", name="span")
    rows = panel.rows_between(end, END)
    scores = score_rows(span.scorer, panel, rows)
    span.scorer.save(tmp_path / "scorer")
    assert scores.height == rows.size
    assert scores.equals(score_rows(Scorer.load(tmp_path / "scorer"), panel, rows))
