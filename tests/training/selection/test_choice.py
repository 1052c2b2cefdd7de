"""What a fit is given: the informative, one a cluster, or its summary; never told by a test row."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.observations import Observations
from training.config import SelectionConfig
from training.fitting import fit_rows, selected_samples
from training.panel import build_panel
from training.samples import Samples
from training.selection import choose
from training.tuning import fold_inputs
from training.walk_forward import fit_span, inner_folds, score_rows

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)
NAMES = ("noise", "strong", "weak", "weak_again", "weak_turned")
CHOSEN = {
    "none": None,
    "mutual_information": (("strong", "weak", "weak_again"), ()),
    "clusters": (("noise", "strong", "weak"), ()),
    "pca": (("noise", "strong"), (("weak", "weak_again", "weak_turned"),)),
}


def samples(X, y):
    n = len(y)
    ones, instants = np.ones(n), np.arange(n)
    return Samples(Observations.alone(X), y, ones, ones, instants, instants, HOUR)


def signals(n=900):
    """`weak` comes three times, once with a little noise and once turned, and is nearly as good."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, n)
    noise, strong, weak = rng.normal(size=(3, n)) + np.outer([0.0, 3.0, 1.0], y)
    near, turned = weak + 0.05 * rng.normal(size=n), -weak + 0.3 * rng.normal(size=n)
    return np.stack([noise, strong, weak, near, turned], axis=1).astype(np.float32), y


@pytest.fixture
def panel(bars, features, config):
    return build_panel(bars, features, config.label, timeframe=HOUR, end=END)


def selecting(config, method, **changes):
    return config.model_copy(update={"selection": SelectionConfig(method=method, **changes)})


@pytest.mark.parametrize("method", CHOSEN)
def test_each_method_keeps_what_it_is_for(method):
    X, y = signals()
    found = choose(samples(X, y), NAMES, SelectionConfig(method=method, keep=3))
    if found is None:
        assert CHOSEN[method] is None
    else:
        assert (found.kept, tuple(c.members for c in found.components)) == CHOSEN[method]


def test_equals_are_chosen_by_name():
    X, y = signals()
    copies = np.repeat(X[:, :1], 3, axis=1)
    found = choose(samples(copies, y), ("c", "a", "b"), SelectionConfig(keep=2))
    assert found.kept == ("a", "b")


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(5)), st.sampled_from(["mutual_information", "clusters", "pca"]))
def test_a_choice_is_the_same_in_any_order_of_columns(order, method):
    X, y = signals()
    config = SelectionConfig(method=method, keep=3)
    first = choose(samples(X, y), NAMES, config)
    names = tuple(NAMES[i] for i in order)
    moved = choose(samples(X[:, list(order)], y), names, config)
    assert set(moved.kept) == set(first.kept)
    assert moved.components == first.components


@pytest.mark.parametrize("method", ["mutual_information", "clusters", "pca"])
def test_a_feature_that_foretells_the_test_fold_alone_is_not_seen(panel, config, method):
    rows = panel.training_rows(START, END)
    folds, _ = inner_folds(panel, rows, config, name="w")
    for train, test in folds:
        planted = panel.X[:, 0].copy()
        planted[:] = np.random.default_rng(1).normal(size=planted.size)
        planted[test] = panel.outcome[test]
        X = np.column_stack([panel.X, planted]).astype(np.float32)
        told = replace(panel, X=X, feature_names=(*panel.feature_names, "oracle"))
        chooses = selecting(config, method, keep=3, max_correlation=0.95)
        _, projection = selected_samples(told, train, chooses, 1)
        assert "oracle" not in projection.kept
        assert all("oracle" not in c.members for c in projection.components)
        # Had it looked at the test rows, it would have taken it.
        _, looked = selected_samples(told, test, chooses, 1)
        assert "oracle" in looked.kept


@pytest.mark.parametrize("method", ["mutual_information", "clusters", "pca"])
def test_what_a_test_fold_holds_changes_neither_choice_nor_fit(panel, config, method):
    rows = panel.training_rows(START, END)
    ((train, test), *_), _ = inner_folds(panel, rows, config, name="w")
    chooses = selecting(config, method, keep=3, max_correlation=0.5)
    fit = fit_rows(panel, train, {}, chooses)
    rng = np.random.default_rng(3)
    X, outcome = panel.X.copy(), panel.outcome.copy()
    X[test], outcome[test] = rng.normal(size=(test.size, X.shape[1])), rng.integers(0, 3, test.size)
    again = fit_rows(replace(panel, X=X, outcome=outcome), train, {}, chooses)
    assert again.projection == fit.projection
    asked = panel.observations(test)
    np.testing.assert_array_equal(again.predict_proba(asked), fit.predict_proba(asked))


def test_the_search_fits_and_asks_a_fold_with_the_columns_its_training_rows_chose(panel, config):
    rows = panel.training_rows(START, END)
    ((train, test), *_), _ = inner_folds(panel, rows, config, name="search")
    chooses = selecting(config, "mutual_information", keep=2)
    given_samples, asked = fold_inputs(panel, train, test, chooses, 1)
    _, projection = selected_samples(panel, train, chooses, 1)
    places = [panel.feature_names.index(name) for name in projection.kept]
    np.testing.assert_array_equal(asked.asked, panel.X[np.ix_(test, places)])
    assert given_samples.observations.asked.shape == (given_samples.y.size, 2)
    swept, asked = fold_inputs(panel, train, test, chooses, 24)
    assert asked.X.shape == swept.observations.X.shape == (len(panel.X), 2)


@pytest.mark.parametrize("method", ["mutual_information", "clusters", "pca"])
def test_a_served_model_is_the_trained_one_bit_for_bit(panel, config, method, tmp_path):
    chooses = selecting(config, method, keep=2, max_correlation=0.5)
    fitted = fit_span(panel, {}, chooses, start=START, end=END, feature_set="abc", name="w")
    scorer = fitted.scorer
    assert scorer.feature_names == panel.feature_names
    digest = scorer.save(tmp_path)
    served = type(scorer).load(tmp_path, expected_hash=digest)
    assert served.spec.projection == scorer.spec.projection
    assert 0 < served.spec.projection.columns <= 2
    rows = np.arange(len(panel.X))
    scored = score_rows(scorer, panel, rows)
    assert score_rows(served, panel, rows).equals(scored)
    columns = ["p_down", "p_flat", "p_up"]
    hour = score_rows(served, panel, rows[-1:])
    assert hour.select(columns).equals(scored.select(columns).tail(1))
    assert fitted.importance.gain.size == len(panel.feature_names)
    assert fitted.importance.gain.sum() == pytest.approx(1)


def test_keeping_all_by_information_is_fitting_without_a_selection(panel, config):
    rows = panel.training_rows(START, END)
    asked = panel.observations(rows)
    every = fit_rows(panel, rows, {}, selecting(config, "none")).predict_proba(asked)
    kept = fit_rows(panel, rows, {}, selecting(config, "mutual_information", keep=99))
    assert kept.projection.kept == panel.feature_names
    np.testing.assert_array_equal(kept.predict_proba(asked), every)
