"""The objective of the search."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from serving.config import CostConfig, RiskConfig
from training.panel import build_panel
from training.tuning import (
    DAILY,
    Pruned,
    day_closes,
    engine_earnings,
    evaluate_trial,
    pack_returns,
    search_folds,
    unpack_returns,
)

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)


class Fixed:
    """A trial that suggests the lowest of every range and stops when it is told to."""

    def __init__(self, prune_after=None):
        self.prune_after = prune_after
        self.reports = []
        self.kept = {}

    def suggest_int(self, name, low, high, *, step=1):
        return low

    def suggest_float(self, name, low, high, *, log=False):
        return high if name == "learning_rate" else low

    def report(self, value, step):
        self.reports.append((step, value))

    def set_user_attr(self, key, value):
        self.kept[key] = value

    def should_prune(self):
        return self.prune_after is not None and len(self.reports) > self.prune_after


@pytest.fixture
def panel(bars, features, config):
    return build_panel(bars, features, config.label, timeframe=HOUR, end=END)


@pytest.fixture
def engine(bars, features, panel, config):
    def make(test):
        keys = panel.keys[test]
        inside = pl.col("known_at").is_between(keys["known_at"].min(), keys["known_at"].max())
        return engine_earnings(
            bars.filter(inside),
            features.filter(inside),
            keys,
            config.label.horizon_bars,
            costs=CostConfig(),
            risk=RiskConfig(),
            initial_cash=100_000,
            timeframe=HOUR,
        )

    return make


def evaluate(panel, config, engine, trial):
    rows = panel.training_rows(START, END)
    folds, audits = search_folds(panel, rows, config, engine)
    assert [audit.overlaps for audit in audits] == [0, 0]
    return evaluate_trial(trial, panel, folds, config)


def test_an_oracle_earns_and_saying_nothing_earns_nothing(panel, engine):
    rows = panel.rows_between(END - timedelta(days=10), END)
    earn = engine(rows)
    assert earn(np.full(rows.size, np.nan)).net_return == 0.0
    assert earn(np.nan_to_num(panel.realised[rows])).net_return > 0.1


def test_the_objective_is_the_mean_over_folds_and_repeats_itself(panel, config, engine):
    trial = Fixed()
    value = evaluate(panel, config, engine, trial)
    assert [step for step, _ in trial.reports] == [0, 1]
    assert np.mean([told for _, told in trial.reports]) == value
    assert evaluate(panel, config, engine, Fixed()) == value
    assert value > 0, "the market has a signal that pays its costs"


def test_log_loss_is_maximised_as_its_negative(panel, config, engine):
    search = config.search.model_copy(update={"objective": "log_loss"})
    value = evaluate(panel, config.model_copy(update={"search": search}), engine, Fixed())
    assert -1.1 < value < -0.3


def test_a_trial_may_be_stopped_between_folds_but_not_after_the_last(panel, config, engine):
    stopped = Fixed(prune_after=0)
    with pytest.raises(Pruned):
        evaluate(panel, config, engine, stopped)
    assert len(stopped.reports) == 1
    finished = Fixed(prune_after=1)
    evaluate(panel, config, engine, finished)
    assert len(finished.reports) == 2
    some, all_ = (unpack_returns(trial.kept[DAILY]) for trial in (stopped, finished))
    assert 0 < some.size < all_.size
    np.testing.assert_array_equal(all_[: some.size], some)


def test_a_trial_keeps_its_daily_returns_whatever_is_maximised(panel, config, engine):
    by_return, by_loss = Fixed(), Fixed()
    evaluate(panel, config, engine, by_return)
    search = config.search.model_copy(update={"objective": "log_loss"})
    evaluate(panel, config.model_copy(update={"search": search}), engine, by_loss)
    assert by_return.kept == by_loss.kept
    assert unpack_returns(by_loss.kept[DAILY]).any()


def test_a_day_closes_with_the_bar_that_is_known_at_midnight():
    hours = np.arange(22, 22 + 30) * 3_600_000_000
    assert day_closes(hours).tolist() == [2, 26, 29]
    assert day_closes(hours[:2]).tolist() == [1]


def test_returns_survive_their_packing_to_single_precision():
    daily = np.array([0.01, -0.02, 0.0])
    np.testing.assert_array_equal(
        unpack_returns(pack_returns(daily)), daily.astype("float32").astype("float64")
    )


def spoiled(panel, config, engine, **columns):
    """Judge a trial on a panel of which some columns are replaced."""
    search = config.search.model_copy(update={"objective": "log_loss"})
    config = config.model_copy(update={"search": search})
    return evaluate(replace(panel, **columns), config, engine, Fixed())


def test_features_that_stand_still_are_worth_what_the_base_rates_are(panel, config, engine):
    X = panel.X.copy()
    X[:, [0, 1]] = 1.0
    assert -1.1 < spoiled(panel, config, engine, X=X) < -0.3
    assert -1.2 < spoiled(panel, config, engine, X=np.ones_like(X)) < -0.9


def test_a_class_that_a_fold_never_saw_is_unlikely_there_and_no_error(panel, config, engine):
    half = np.median(panel.known_at)
    up = panel.outcome == 2
    outcome = np.where(up & (panel.known_at > half), 1, panel.outcome)
    value = spoiled(panel, config, engine, outcome=outcome)
    assert np.isfinite(value)
    assert value < spoiled(panel, config, engine)
