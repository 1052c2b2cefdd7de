"""The scores of a model that was trained, closed by what its training says that it foresees."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.steps.close_outcomes import close_outcomes
from pipelines.steps.score_bars import score_bars
from training.config import LabelConfig
from training.labels import label_bars

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=46)
HORIZON = 12


@pytest.fixture
def own(trained, tmp_path):
    """A trained world over a copy of its lake, scored up to NOW, with a home for its pages."""
    world, _ = trained
    copy = tmp_path / "lake"
    shutil.copytree(world.settings.home / "lake", copy)
    # Whatever the settings have become since, the outcome is that of the training's own label.
    later = {"training__label__kind": "fixed_horizon", "training__interval_level": 0.5}
    with world.open(lake__uri=str(copy), home=str(tmp_path / "home"), **later) as context:
        score_bars(context, NOW)
        yield context


def test_pairs_are_measured_by_the_label_and_the_level_of_their_own_training(own) -> None:
    close_outcomes(own, NOW)
    pairs = own.lake.read("outcomes", end=NOW)
    assert pairs["interval_level"].unique().to_list() == [0.8]
    assert pairs["horizon_bars"].unique().to_list() == [HORIZON]
    bars = own.lake.read("bars", end=NOW)
    label = LabelConfig(horizon_bars=HORIZON, volatility_window=24)
    labels = label_bars(bars, label, timeframe=HOUR, end=NOW)
    scores = own.lake.read("scores", end=NOW - HORIZON * HOUR)
    met = scores.join(labels, on=["symbol", "known_at"]).join(
        pairs, left_on=["symbol", "known_at", "model_version"], right_on=["symbol", "scored_at", "model_version"], suffix="_pair"
    )  # fmt: skip
    assert met.height == scores.height == pairs.height > 0
    assert (met["outcome"] == met["label"].cast(pl.Int64) + 1).all()
    np.testing.assert_array_equal(met["realised_return"], met["realised_return_pair"])
    assert met["regime"].null_count() == met.height, "its features have no states by rule"
    assert (met["label_end"] < met["known_at_pair"]).any(), "a barrier closes no pair early"
