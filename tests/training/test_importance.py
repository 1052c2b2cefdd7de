"""Importance: what permuting, and what the libraries' Shapley values, say of features of known worth."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from evaluation.calibration import log_loss
from serving.observations import Observations
from training.config import ImportanceConfig, SelectionConfig
from training.contributions import mean_contributions
from training.fitting import fit_rows
from training.importance import measure_importance
from training.models import model_class
from training.panel import build_panel
from training.permutation import Examined, examine, permutation_drops
from training.walk_forward import inner_folds

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)


@pytest.fixture
def panel(bars, features, config):
    """The small market's, with an oracle of two thirds of the labels, a copy of it, and noise."""
    made = build_panel(bars, features, config.label, timeframe=HOUR, end=END)
    rng = np.random.default_rng(6)
    oracle = np.where(
        rng.random(len(made.X)) < 2 / 3, made.outcome, rng.integers(0, 3, len(made.X))
    )
    copy = oracle + 0.01 * rng.normal(size=oracle.size)
    X = np.column_stack([oracle, copy, rng.normal(size=oracle.size)]).astype(np.float32)
    return replace(made, X=X, feature_names=("oracle", "copy", "noise"))


def measured(panel, config, **changes):
    config = config.model_copy(update=changes)
    rows = panel.training_rows(START, END)
    folds, _ = inner_folds(panel, rows, config, name="w")
    fits = [(fit_rows(panel, train, {}, config), test) for train, test in folds]
    return measure_importance(panel, rows, fit_rows(panel, rows, {}, config), fits, config)


def test_a_copy_stands_in_for_a_feature_but_not_for_its_cluster(panel, config):
    found = measured(panel, config)
    together = found.cluster_permutation
    assert together[0] == together[1] > 0.2
    assert found.permutation[0] < 0.8 * together[0]
    assert abs(found.permutation[2]) < 0.02
    assert found.shap[:2].sum() > 5 * found.shap[2]
    assert found.gain.sum() == pytest.approx(1)


def test_only_the_largest_are_permuted_and_nothing_where_nobody_asked(panel, config):
    few = measured(panel, config, importance=ImportanceConfig(columns=1))
    assert np.isnan(few.permutation).sum() == np.isnan(few.cluster_permutation).sum() == 2
    named = few.by_feature(panel.feature_names)
    assert sum(one["permutation"] is None for one in named.values()) == 2
    assert all(one["gain"] is not None for one in named.values())
    none = measured(panel, config, importance=ImportanceConfig(columns=0))
    assert np.isnan(none.permutation).all()
    assert np.isnan(none.shap).all()
    assert none.gain == pytest.approx(few.gain)


def test_importance_is_told_of_features_though_the_model_had_their_summary(panel, config):
    selection = SelectionConfig(method="pca", keep=2)
    found = measured(panel, config, selection=selection)
    assert found.gain[0] == pytest.approx(found.gain[1])
    assert found.gain[0] > 0.3
    assert found.shap[0] == pytest.approx(found.shap[1], rel=1e-3)


def guess(observations):
    """Probabilities by the first column of the row asked for."""
    likely = np.eye(3)[observations.asked[:, 0].astype(int)]
    return 0.9 * likely + 0.1 / 3


def test_a_drop_is_the_loss_with_permuted_values_less_the_loss_without():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 3, 400), rng.normal(size=400)]).astype(np.float32)
    every = np.arange(400)
    observations = Observations(X, ("s",), np.zeros(400, np.int64), every, every)
    examined = Examined(observations, X[:, 0].astype(np.int64), np.ones(400))
    groups = [np.array([0]), np.array([1]), np.array([0, 1])]
    drops = permutation_drops(guess, examined, groups, block_bars=50, seed=1)
    # Two thirds of the values become another class: -log(1/30) instead of -log(28/30).
    right = log_loss(guess(observations), examined.outcome, None)
    assert drops[0] == pytest.approx(2 / 3 * (np.log(30) - right), rel=0.1)
    assert drops[1] == 0.0
    assert drops[2] == drops[0]
    assert (
        drops.tolist() == permutation_drops(guess, examined, groups, block_bars=50, seed=1).tolist()
    )
    # Blocks of one bar leave every value where it is.
    assert permutation_drops(guess, examined, groups, block_bars=1, seed=1).tolist() == [0, 0, 0]


def test_what_is_examined_is_spread_over_the_fold_with_the_past_that_is_needed(panel):
    rows = panel.training_rows(START, END)
    test = rows[panel.known_at[rows] > np.median(panel.known_at[rows])]
    found = examine(panel, test, rows=300, context_bars=1)
    asked = found.observations.rows.size
    assert 200 < asked < 400
    np.testing.assert_array_equal(np.unique(found.observations.bar).size, asked / 3)
    looking_back = examine(panel, test, rows=300, context_bars=12)
    bars = set(looking_back.observations.bar.tolist())
    for bar in looking_back.observations.bar[looking_back.observations.rows]:
        assert bars >= set(range(bar - 11, bar + 1))


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
def test_the_libraries_shapley_values_find_the_signal(panel, config, name):
    rows = panel.training_rows(START, END)[:600]
    changed = config.model_copy(update={"model": name, "model_params": {}})
    fit = fit_rows(panel, rows, {}, changed)
    values = mean_contributions(fit.model, panel.X[rows[:100]])
    assert values.shape == (3,)
    assert values[:2].sum() > 3 * values[2]


def test_a_model_that_cannot_tell_is_measured_by_permutation_alone(panel, config):
    changed = config.model_copy(update={"model_params": {}})
    found = measured(panel, changed, model="logistic")
    assert model_class("logistic").predictor_kind == "logistic"
    assert np.isnan(found.shap).all()
    assert found.cluster_permutation[0] > 0.1
