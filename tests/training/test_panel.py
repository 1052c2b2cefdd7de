"""Features joined with labels."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from training.config import LabelConfig
from training.panel import build_panel
from training.splits import NO_END

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=40)
LABEL = LabelConfig(horizon_bars=12, volatility_window=24)


@pytest.fixture(scope="module")
def panel(bars, features):
    return build_panel(bars, features, LABEL, timeframe=HOUR, end=END)


def test_rows_are_those_of_the_features_in_their_order(panel, features):
    assert panel.keys.equals(features.select("venue", "symbol", "known_at"))
    assert panel.X.shape == (features.height, 5)
    assert panel.X.dtype == np.float32
    assert np.isnan(panel.X[0]).any()
    assert sorted(set(panel.symbol.tolist())) == [0, 1, 2]


def test_a_row_without_label_or_volatility_is_not_learned_from(panel):
    assert (panel.label_end[panel.labelled] != NO_END).all()
    assert (panel.scale[panel.labelled] > 0).all()
    assert set(np.unique(panel.outcome[panel.labelled])) <= {0, 1, 2}
    assert not panel.labelled[panel.rows_between(END - 12 * HOUR, END)].any()


def test_training_rows_are_known_after_the_start_and_their_horizons_are_over_by_the_end(panel):
    start, end = START + timedelta(days=10), START + timedelta(days=20)
    rows = panel.training_rows(start, end)
    known = panel.keys["known_at"].gather(rows)
    assert known.min() > start
    assert panel.label_end[rows].max() <= int(end.timestamp()) * 1_000_000
    assert known.max() == end - 12 * HOUR


def test_the_future_beyond_end_changes_no_row(bars, features):
    early = START + timedelta(days=20)
    cut = build_panel(bars, features, LABEL, timeframe=HOUR, end=early)
    nothing_later = build_panel(
        bars.filter(pl.col("known_at") <= early),
        features.filter(pl.col("known_at") <= early),
        LABEL,
        timeframe=HOUR,
        end=early,
    )
    assert cut.keys.equals(nothing_later.keys)
    assert np.array_equal(cut.label_end, nothing_later.label_end)
    assert np.array_equal(cut.realised, nothing_later.realised, equal_nan=True)


def test_thinning_keeps_one_bar_in_so_many_and_staggers_the_symbols(panel):
    rows = panel.rows_between(START, START + timedelta(hours=24))
    kept = panel.keys[rows].filter(pl.Series(panel.thinned(rows, 6)))
    assert kept.group_by("symbol").len()["len"].to_list() == [4, 4, 4]
    assert kept["known_at"].n_unique() == 12
    assert panel.thinned(rows, 1).all()


def test_outcomes_are_null_where_they_are_not_known(panel):
    frame = panel.outcomes(panel.rows_between(END - 14 * HOUR, END))
    assert frame["outcome"].null_count() == 36
    assert frame["realised_return"].null_count() == 36
    assert frame.height == 42


def test_weights_have_mean_one_and_uniqueness_is_about_one_in_the_labels_length(panel):
    rows = panel.training_rows(START, END)
    assert panel.weights(rows).mean() == pytest.approx(1)
    assert 1 / 12 < panel.mean_uniqueness(rows) < 1 / 4


def test_features_without_the_volatility_that_scales_are_refused(bars, features):
    with pytest.raises(ValueError, match="features lack realised_vol_72"):
        build_panel(bars, features.drop("realised_vol_72"), LABEL, timeframe=HOUR, end=END)
    with pytest.raises(ValueError, match="no rows in the span"):
        build_panel(bars, features.clear(), LABEL, timeframe=HOUR, end=END)
