"""Members that learn several horizons, on a panel that carries the labels of each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from planted_models import Noise, Reader, plant, signal_rows, with_horizon

from training.config import LabelConfig
from training.labels import label_bars
from training.models.multi_horizon import MultiHorizonModel
from training.nulls import shifted_labels
from training.panel import build_panel
from training.splits import NO_END

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=40)
LABEL = LabelConfig(horizon_bars=12, volatility_window=24, extra_horizons=(4, 48))


@pytest.fixture(scope="module")
def panel(bars, features):
    return build_panel(bars, features, LABEL, timeframe=HOUR, end=END)


@pytest.fixture(scope="module")
def plain(bars, features):
    base = LABEL.model_copy(update={"extra_horizons": ()})
    return build_panel(bars, features, base, timeframe=HOUR, end=END)


def test_the_base_label_is_as_without_the_others(panel, plain):
    assert np.array_equal(panel.outcome, plain.outcome)
    assert np.array_equal(panel.labelled, plain.labelled)
    assert not plain.others


@pytest.mark.parametrize("horizon", [4, 48])
def test_each_further_label_is_that_of_its_horizon(panel, bars, horizon):
    config = LabelConfig(horizon_bars=horizon, volatility_window=24)
    labels = label_bars(bars, config, timeframe=HOUR, end=END)
    expected = panel.keys.join(labels, on=["venue", "symbol", "known_at"], how="left")
    known = expected["label"].is_not_null().to_numpy()
    ours = panel.others[horizon]
    assert np.array_equal(ours.y[known], expected["label"].to_numpy()[known] + 1)
    assert (ours.y[~known] == -1).all()
    scale = panel.scale / np.sqrt(12) * np.sqrt(horizon)
    row = int(np.flatnonzero(known & (scale > 0))[100])
    assert ours.realised[row] == pytest.approx(expected["realised_return"][row] / scale[row])


def test_a_rows_span_ends_with_its_longest_label(panel, plain, bars):
    ends = [plain.label_end]
    for horizon in (4, 48):
        config = LabelConfig(horizon_bars=horizon, volatility_window=24)
        labels = label_bars(bars, config, timeframe=HOUR, end=END)
        found = panel.keys.join(labels, on=["venue", "symbol", "known_at"], how="left")
        ends.append(found["label_end"].dt.timestamp("us").fill_null(0).to_numpy())
    expected = np.where(plain.label_end == NO_END, NO_END, np.max(ends, axis=0))
    assert np.array_equal(panel.label_end, expected)
    assert (panel.label_end > plain.label_end).sum() > 100


def test_training_rows_are_those_whose_longest_horizon_was_over(panel):
    end = START + timedelta(days=20)
    rows = panel.training_rows(START, end)
    assert panel.keys["known_at"].gather(rows).max() == end - 48 * HOUR
    assert panel.label_end[rows].max() <= int(end.timestamp()) * 1_000_000
    assert all((labels.y[rows] >= 0).all() for labels in panel.others.values())


def test_the_future_beyond_end_changes_no_label(bars, features):
    early = START + timedelta(days=20)
    cut = build_panel(bars, features, LABEL, timeframe=HOUR, end=early)
    known = pl.col("known_at") <= early
    without = build_panel(
        bars.filter(known), features.filter(known), LABEL, timeframe=HOUR, end=early
    )
    for horizon in (4, 48):
        assert np.array_equal(cut.others[horizon].y, without.others[horizon].y)


def test_samples_carry_the_labels_of_their_rows(panel):
    rows = panel.training_rows(START, END)
    samples = panel.samples(rows, every=2, embargo_bars=6)
    taken = samples.observations.rows
    assert np.array_equal(samples.others[48].y, panel.others[48].y[taken])
    some = samples.of(np.array([5, 3]))
    assert np.array_equal(some.others[4].y, panel.others[4].y[taken[[5, 3]]])


def test_rows_without_a_label_over_a_horizon_are_left_out_there_alone():
    rows = signal_rows(n=50)
    unknown = np.arange(rows.y.size) % 5 == 0
    both = with_horizon(rows, 8, np.where(unknown, -1, 2 - rows.y), label_hours=8)
    over = both.over(8)
    assert over.y.size == 120
    assert np.array_equal(over.y, 2 - rows.y[~unknown])
    assert np.array_equal(over.observations.rows, np.flatnonzero(~unknown))
    assert both.y.size == 150


def test_moved_labels_take_those_of_the_other_horizons_along(panel):
    rows = panel.training_rows(START, END)
    moved = shifted_labels(panel, rows)
    row = int(rows[200])
    bar = panel.known_at[row] - 12 * 3_600_000_000
    source = int(np.flatnonzero((panel.known_at == bar) & (panel.symbol == panel.symbol[row]))[0])
    assert moved.outcome[row] == panel.outcome[source]
    for horizon in (4, 48):
        assert moved.others[horizon].y[row] == panel.others[horizon].y[source]


class Learner(Reader):
    """Reads the class from the first feature, after the mean class of what it was fitted on."""

    name = "learner"

    def predict_proba(self, observations):
        falling = np.corrcoef(self.samples.observations.asked[:, 0], self.samples.y)[0, 1] < 0
        proba = super().predict_proba(observations)
        return proba[:, ::-1] if falling else proba


def test_members_of_another_horizon_are_translated_into_the_one_that_is_traded(monkeypatch):
    plant(monkeypatch, Learner, Noise)
    rows = signal_rows()
    # What falls over eight hours rises over four: only a learned combination can use it.
    both = with_horizon(rows, 8, 2 - rows.y, label_hours=8)
    model = MultiHorizonModel({"members": ["learner", "noise"]}, seed=7, threads=1).fit(both)
    assert [member.name for member in model.members] == ["learner", "noise"] * 2
    fresh = signal_rows(seed=8)
    reversed_member = model.members[2].predict_proba(fresh.observations)
    assert (reversed_member.argmax(axis=1) == fresh.y).mean() < 0.5
    assert (model.predict_proba(fresh.observations).argmax(axis=1) == fresh.y).mean() > 0.75
    up = model.predictor.coefficients[6:9, 2] - model.predictor.coefficients[6:9, 0]
    assert up[0] > up[2]


def test_one_horizon_is_refused():
    model = MultiHorizonModel({"members": ["logistic"]}, seed=7, threads=1)
    with pytest.raises(ValueError, match=r"set training.label.extra_horizons, e.g. \[8, 72\]"):
        model.fit(signal_rows())


def test_a_horizon_without_any_label_is_refused(monkeypatch):
    plant(monkeypatch, Reader)
    rows = signal_rows()
    empty = with_horizon(rows, 8, np.full(rows.y.size, -1), label_hours=4)
    model = MultiHorizonModel({"members": ["reader"]}, seed=7, threads=1)
    with pytest.raises(ValueError, match="no row has a label over 8 bars; leave it out"):
        model.fit(replace(empty))
