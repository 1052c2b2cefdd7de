"""Scoring the hour with every live model."""

import shutil
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines import quality
from pipelines.backtests.span import read_rows
from pipelines.errors import ContractViolation
from pipelines.quality import CheckResult
from pipelines.steps.score_bars import score_bars
from pipelines.tables import KEY, features_table
from pipelines.tracking.plan import read_inputs
from serving.observations import Observations

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NAMES = ["realised_vol_72", "atr_14", "ema_gap_24_96"]


def scores(context):
    return context.lake.read("scores", end=AS_OF + timedelta(days=9))


@pytest.fixture
def lake_of_its_own(trained, tmp_path):
    """The trained world over a copy of its lake, so that tests may write."""
    world, _ = trained
    copy = tmp_path / "lake"
    shutil.copytree(world.settings.home / "lake", copy)
    return lambda **overrides: world.open(lake__uri=str(copy), **overrides)


def test_an_hour_is_scored_once_for_every_symbol(lake_of_its_own):
    with lake_of_its_own() as context:
        report = score_bars(context, AS_OF + HOUR)
        assert report.changed
        assert report.detail == {"models": 1, "rows": 3}
        frame = scores(context)
        assert frame["known_at"].unique().to_list() == [AS_OF + HOUR]
        assert frame["model_version"].to_list() == ["1", "1", "1"]
        version = context.lake.version("scores")
        assert not score_bars(context, AS_OF + HOUR).changed
        assert context.lake.version("scores") == version


def test_missed_hours_are_caught_up_with_from_the_opening_of_the_book(lake_of_its_own):
    with lake_of_its_own() as context:
        assert score_bars(context, AS_OF + 5 * HOUR).detail["rows"] == 15
        assert score_bars(context, AS_OF + 6 * HOUR).detail["rows"] == 3
        assert score_bars(context, AS_OF + 9 * HOUR).detail["rows"] == 9
        caught_up = scores(context)
        for hour in range(1, 10):
            assert not score_bars(context, AS_OF + hour * HOUR).changed
        assert scores(context).equals(caught_up)
        assert caught_up["known_at"].n_unique() == 9


def test_no_model_scores_the_hour_of_its_own_training_or_before(lake_of_its_own):
    with lake_of_its_own() as context:
        report = score_bars(context, AS_OF)
        assert not report.changed
        assert report.detail["note"] == "no book of a model is live"
        assert not context.lake.exists("scores")


def test_a_symbol_without_a_bar_is_not_scored(lake_of_its_own):
    with lake_of_its_own() as context:
        hour = (AS_OF, AS_OF + HOUR)
        features = context.lake.read("features", start=hour[0], end=hour[1])
        present = features.filter(pl.col("symbol") != "BBB/USDT")
        context.lake.replace(features_table(NAMES), present, start=hour[0], end=hour[1])
        score_bars(context, AS_OF + HOUR)
        assert scores(context)["symbol"].to_list() == ["AAA/USDT", "CCC/USDT"]


def test_a_missing_volatility_leaves_a_symbol_out_and_another_missing_feature_does_not(
    lake_of_its_own,
):
    with lake_of_its_own() as context:
        hour = (AS_OF, AS_OF + HOUR)
        features = context.lake.read("features", start=hour[0], end=hour[1])
        holes = features.with_columns(
            pl.when(pl.col("symbol") != "AAA/USDT").then("realised_vol_72"),
            pl.when(pl.col("symbol") != "BBB/USDT").then("atr_14"),
        )
        context.lake.replace(features_table(NAMES), holes, start=hour[0], end=hour[1])
        score_bars(context, AS_OF + HOUR)
        assert scores(context)["symbol"].to_list() == ["BBB/USDT", "CCC/USDT"]


def test_another_feature_set_is_refused_and_nothing_is_written(lake_of_its_own):
    with lake_of_its_own() as context:
        context.lake.set_metadata("features", {"feature_set": "set-2"})
        with pytest.raises(ContractViolation, match="fitted on feature set set-1") as refused:
            score_bars(context, AS_OF + HOUR)
        assert "hourglass train" in refused.value.remedy
        assert not context.lake.exists("scores")


def test_bars_without_features_are_refused_and_an_hour_without_bars_is_not(lake_of_its_own):
    with lake_of_its_own() as context:
        hour = (AS_OF, AS_OF + HOUR)
        none = context.lake.read("features", start=hour[1], end=hour[1])
        context.lake.replace(features_table(NAMES), none, start=hour[0], end=hour[1])
        with pytest.raises(ContractViolation, match="has bars but no features"):
            score_bars(context, AS_OF + HOUR)
    with lake_of_its_own(venue="kraken") as context:
        assert score_bars(context, AS_OF + HOUR).detail["rows"] == 0


def refuse(context, hour):
    """Write down that the features of an hour failed their check, as `check_features` does."""
    failed = CheckResult("features", "contract", "binance", "*", hour, "", "", passed=False)
    quality.add(context.lake, [failed])


def test_an_hour_whose_features_failed_their_check_is_not_scored_and_the_next_one_is(
    lake_of_its_own,
):
    with lake_of_its_own() as context:
        refuse(context, AS_OF + 2 * HOUR)
        score_bars(context, AS_OF + HOUR)
        with pytest.raises(ContractViolation, match="02:00Z failed its check; nothing was") as told:
            score_bars(context, AS_OF + 2 * HOUR)
        assert "check-features --as-of 2024-01-31T02:00Z" in told.value.remedy
        assert score_bars(context, AS_OF + 3 * HOUR).detail["rows"] == 3
        scored = scores(context)["known_at"].unique().sort().to_list()
        assert scored == [AS_OF + HOUR, AS_OF + 3 * HOUR]
        quality.add(context.lake, [passed(AS_OF + 2 * HOUR)])
        assert score_bars(context, AS_OF + 2 * HOUR).changed


def passed(hour):
    return CheckResult("features", "contract", "binance", "*", hour, "", "", passed=True)


def test_no_training_and_no_backtest_reads_a_refused_hour(lake_of_its_own):
    with lake_of_its_own() as context:
        hour = AS_OF - 30 * HOUR
        refuse(context, hour)
        versions = {name: context.lake.version(name) for name in ("bars", "features")}
        inputs = read_inputs(context, AS_OF, versions, context.settings.training)
        assert hour in inputs.bars["known_at"]
        assert hour not in inputs.features["known_at"]
        assert hour - HOUR in inputs.features["known_at"]
        symbols = context.settings.universe
        rows = read_rows(context, "features", KEY, hour - 2 * HOUR, hour, symbols)
        assert rows["known_at"].unique().to_list() == [hour - HOUR]
        bars = read_rows(context, "bars", KEY, hour - 2 * HOUR, hour, symbols)
        assert bars["known_at"].n_unique() == 2


def test_live_scores_are_those_of_a_bulk_scoring(lake_of_its_own):
    with lake_of_its_own() as context:
        for hour in range(1, 6):
            score_bars(context, AS_OF + hour * HOUR)
        live = scores(context)
        features = context.lake.read("features", start=AS_OF, end=AS_OF + 5 * HOUR)
        scorer = context.registry.load("1")
        bulk = scorer.score(Observations.alone(features.select(scorer.feature_names).to_numpy()))
        for name in ("p_down", "p_up", "expected_return", "lower", "upper"):
            assert live[name].to_list() == bulk[name].tolist()
