"""The features table is always what the bars give, whatever happened on the way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features import registry
from features.grid import Grid
from features.kernels import Array
from features.matrix import build_matrix
from features.registry import feature_set_hash, registered, required_lookback
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.lake import Lake
from pipelines.settings import load_settings
from pipelines.steps.build_features import build_features, feature_names
from pipelines.tables import BARS

HOUR = timedelta(hours=1)
START = datetime(2024, 2, 20, tzinfo=UTC)
END = START + 900 * HOUR
UNIVERSE = ("ADA/USDT", "BTC/USDT", "ETH/USDT")
FAMILIES = ("calendar", "cross_asset", "momentum", "volatility")


def context_of(home: Path, **more) -> Context:
    chosen = {
        "home": str(home),
        "universe": list(UNIVERSE),
        "features.families": list(FAMILIES),
        **more,
    }
    return Context(load_settings(chosen, environ={}))


@pytest.fixture
def bars(random_bars) -> pl.DataFrame:
    return random_bars(UNIVERSE, start=START, hours=900)


@pytest.fixture
def context(home: Path) -> Iterator[Context]:
    with context_of(home) as context:
        yield context


def put(context: Context, bars: pl.DataFrame, start: datetime, end: datetime) -> None:
    """Make the bars of a window equal those given."""
    window = bars.filter((pl.col("known_at") > start) & (pl.col("known_at") <= end))
    context.lake.replace(BARS, window, start=start, end=end)


def law_holds(context: Context, bars: pl.DataFrame, as_of: datetime) -> bool:
    """Say whether `features` is what `build_matrix` gives from all the bars."""
    known = bars.filter(pl.col("known_at") <= as_of)
    expected = build_matrix(known, timeframe=HOUR, names=feature_names(context.settings))
    return context.lake.read("features", end=END).equals(expected)


def test_the_first_run_builds_the_whole_history(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars, START, END)
    report = build_features(context, END)
    assert report.changed
    assert report.detail["rows"] == 2700
    assert report.detail["rebuilt_because"] == "there were no features"
    assert law_holds(context, bars, END)
    names = feature_names(context.settings)
    assert context.lake.metadata("features")["feature_set"] == feature_set_hash(names)


def test_running_again_writes_nothing(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    version = context.lake.version("features")
    assert not build_features(context, END).changed
    assert context.lake.version("features") == version


def test_hour_by_hour_equals_one_pass(context: Context, bars: pl.DataFrame) -> None:
    bars = bars.filter((pl.col("symbol") != "ETH/USDT") | (pl.col("known_at").dt.hour() != 3))
    put(context, bars, START, END - 30 * HOUR)
    build_features(context, END - 30 * HOUR)
    for back in range(29, -1, -1):
        as_of = END - back * HOUR
        put(context, bars, as_of - HOUR, as_of)
        report = build_features(context, as_of)
        assert report.changed
        assert report.detail["rows"] < 150
    assert law_holds(context, bars, END)


def test_only_rows_known_at_the_instant_are_written(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars, START, END)
    as_of = END - 100 * HOUR
    build_features(context, as_of)
    assert context.lake.read("features", end=END)["known_at"].max() == as_of
    assert law_holds(context, bars, as_of)


def test_an_older_hour_run_again_leaves_the_later_ones(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    assert not build_features(context, END - 200 * HOUR).changed
    assert law_holds(context, bars, END)


def test_an_outage_is_caught_up(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars, START, END - 100 * HOUR)
    build_features(context, END - 100 * HOUR)
    put(context, bars, END - 100 * HOUR, END)
    build_features(context, END)
    assert law_holds(context, bars, END)


def test_a_restated_bar_changes_its_own_and_later_hours(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END - HOUR)
    build_features(context, END - HOUR)
    restated = bars.with_columns(
        pl.when((pl.col("symbol") == "BTC/USDT") & (pl.col("known_at") == END - 48 * HOUR))
        .then(pl.col(name) * factor)
        .otherwise(pl.col(name))
        for name, factor in (("close", 1.001), ("high", 1.01), ("volume", 3.0))
    )
    put(context, restated, START, END)
    build_features(context, END)
    assert law_holds(context, restated, END)


def test_a_bar_restated_while_features_could_not_be_built_is_not_missed(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END - 60 * HOUR)
    build_features(context, END - 60 * HOUR)
    restated = bars.with_columns(
        volume=pl.when(pl.col("known_at") == END - 100 * HOUR)
        .then(pl.col("volume") * 9)
        .otherwise(pl.col("volume"))
    )
    put(context, restated, START, END)
    build_features(context, END)
    assert law_holds(context, restated, END)


def test_a_repaired_gap_and_older_history_are_built_in(
    context: Context, bars: pl.DataFrame
) -> None:
    gap = (pl.col("symbol") == "ADA/USDT") & pl.col("known_at").is_between(
        END - 400 * HOUR, END - 395 * HOUR
    )
    put(context, bars.filter(~gap), START + 200 * HOUR, END)
    build_features(context, END)
    put(context, bars, START + 200 * HOUR, END)
    build_features(context, END)
    assert law_holds(context, bars.filter(pl.col("known_at") > START + 200 * HOUR), END)
    put(context, bars, START, END)
    build_features(context, END)
    assert law_holds(context, bars, END)


def test_a_bar_that_leaves_takes_its_row_with_it(context: Context, bars: pl.DataFrame) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    fewer = bars.filter((pl.col("symbol") != "ETH/USDT") | (pl.col("known_at") != END))
    put(context, fewer, END - HOUR, END)
    assert build_features(context, END).changed
    assert law_holds(context, fewer, END)


def test_another_feature_set_rebuilds_every_row(
    context: Context, home: Path, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    with context_of(home, **{"features.families": ["trend", "volatility"]}) as other:
        report = build_features(other, END)
        assert report.detail["rebuilt_because"] == "feature_set changed"
        assert report.detail["rows"] == 2700
        assert law_holds(other, bars, END)
        assert not build_features(other, END).changed


@pytest.fixture
def redefine(monkeypatch: pytest.MonkeyPatch):
    """`redefine(name, factor)`: from now on the feature is `factor` times the log return."""

    def change(name: str, factor: float) -> None:
        def given(grid: Grid) -> Array:
            """Something else than before [log return]"""
            return factor * grid.log_return

        old = registry._REGISTERED[name]
        new = replace(
            old, function=given, is_expression=False, windows=(), lookback=2 + int(factor)
        )
        monkeypatch.setitem(registry._REGISTERED, name, new)

    return change


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, columns) of every matrix that was computed."""
    seen: list[tuple[int, int]] = []

    def build(bars: pl.DataFrame, **options) -> pl.DataFrame:
        seen.append((bars.height, len(options["names"])))
        return build_matrix(bars, **options)

    monkeypatch.setattr("pipelines.steps.build_features.build_matrix", build)
    return seen


def test_a_changed_feature_rebuilds_its_column_and_leaves_the_others_bit_for_bit(
    context: Context, bars: pl.DataFrame, redefine, computed
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    before = context.lake.read("features", end=END)
    computed.clear()
    redefine("log_return_1", 3.0)
    report = build_features(context, END)
    assert report.detail["rebuilt_because"] == "feature_set changed"
    assert report.detail["columns_rebuilt"] == 1
    assert [columns for rows, columns in computed if rows > 2500] == [1]
    after = context.lake.read("features", end=END)
    assert after.drop("log_return_1").equals(before.drop("log_return_1"))
    assert after["log_return_1"].null_count() < 900
    assert not after["log_return_1"].equals(before["log_return_1"])
    assert law_holds(context, bars, END)
    assert not build_features(context, END).changed


def test_a_rebuild_is_written_span_by_span_and_computes_no_more_than_a_span_and_its_lookback(
    context: Context, bars: pl.DataFrame, redefine, computed, monkeypatch
) -> None:
    put(context, bars, START, END)
    monkeypatch.setattr("pipelines.steps.build_features.SPAN_MONTHS", 1)
    build_features(context, END)
    assert law_holds(context, bars, END)
    versions = context.lake.version("features")
    before = context.lake.months("features")
    computed.clear()
    redefine("log_return_1", 3.0)
    build_features(context, END)
    assert law_holds(context, bars, END)
    after = context.lake.months("features")
    assert sorted(before) == ["2024-02", "2024-03"]
    assert all(not after[month].files & before[month].files for month in before)
    # A commit a month, one before them that takes the name away and one after that gives the new.
    assert context.lake.version("features") == versions + 4
    february = bars.filter(pl.col("known_at") < datetime(2024, 3, 1, tzinfo=UTC)).height
    assert next(rows for rows, columns in computed if columns == 1) == february


def test_a_rebuild_that_dies_between_spans_is_finished_by_the_next(
    context: Context, bars: pl.DataFrame, redefine, monkeypatch
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    redefine("log_return_1", 3.0)
    monkeypatch.setattr("pipelines.steps.build_features.SPAN_MONTHS", 1)
    replace_window, calls = Lake.replace, []

    def dies_at_the_second(self, table, frame, **window) -> bool:
        calls.append(table.name)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return replace_window(self, table, frame, **window)

    with monkeypatch.context() as killed:
        killed.setattr(Lake, "replace", dies_at_the_second)
        with pytest.raises(RuntimeError, match="killed"):
            build_features(context, END)
    assert not law_holds(context, bars, END)
    assert build_features(context, END).changed
    assert law_holds(context, bars, END)


def test_a_changed_feature_an_outage_and_older_bars_at_once_leave_what_one_pass_gives(
    context: Context, bars: pl.DataFrame, redefine
) -> None:
    put(context, bars, START, END - 100 * HOUR)
    build_features(context, END - 100 * HOUR)
    put(context, bars, START, END)
    redefine("log_return_1", 3.0)
    build_features(context, END)
    assert law_holds(context, bars, END)
    later = bars.filter(pl.col("known_at") > START + 100 * HOUR)
    put(context, later, START, END)
    redefine("log_return_1", 4.0)
    build_features(context, END)
    assert law_holds(context, later, END)


def test_hours_after_a_change_equal_one_pass_and_the_past_is_read_as_it_was(
    context: Context, bars: pl.DataFrame, redefine
) -> None:
    put(context, bars, START, END - 5 * HOUR)
    build_features(context, END - 5 * HOUR)
    version = context.lake.version("features")
    before = context.lake.read("features", end=END)
    redefine("log_return_1", 3.0)
    for back in range(5, -1, -1):
        as_of = END - back * HOUR
        put(context, bars, as_of - HOUR, as_of)
        build_features(context, as_of)
    assert law_holds(context, bars, END)
    assert context.lake.read("features", end=END, version=version).equals(before)
    earlier = context.lake.read("features", end=END - 3 * HOUR)
    names = feature_names(context.settings)
    known = bars.filter(pl.col("known_at") <= END - 3 * HOUR)
    assert earlier.equals(build_matrix(known, timeframe=HOUR, names=names))


def test_a_family_more_or_less_adds_and_drops_its_columns_only(
    context: Context, home: Path, bars: pl.DataFrame, computed
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    more, fewer = [*FAMILIES, "oscillators"], ["momentum", "volatility"]
    for families, columns in ((more, len(registered(("oscillators",)))), (fewer, 0)):
        computed.clear()
        with context_of(home, **{"features.families": families}) as other:
            report = build_features(other, END)
            assert report.detail["columns_rebuilt"] == columns
            assert [n for rows, n in computed if rows > 2500] == [columns]
            assert law_holds(other, bars, END)
            assert not build_features(other, END).changed


def test_a_rebuild_that_is_killed_is_never_taken_for_the_old_definition(
    context: Context, bars: pl.DataFrame, redefine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    redefine("log_return_1", 3.0)
    with monkeypatch.context() as killed:
        named = Lake.set_metadata

        def dies(lake: Lake, table: str, values: dict[str, str]) -> bool:
            if not values["feature_set"].startswith("none"):
                raise KeyboardInterrupt
            return named(lake, table, values)

        killed.setattr(Lake, "set_metadata", dies)
        with pytest.raises(KeyboardInterrupt):
            build_features(context, END)
    assert not law_holds(context, bars, END - HOUR)
    redefine("log_return_1", 1.0)
    build_features(context, END)
    assert law_holds(context, bars, END)


def test_a_rebuild_at_an_older_hour_leaves_no_row_of_the_old_set(
    context: Context, home: Path, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    with context_of(home, **{"features.families": ["trend", "volatility"]}) as other:
        build_features(other, END - 60 * HOUR)
        assert law_holds(other, bars, END - 60 * HOUR)
        build_features(other, END)
        assert law_holds(other, bars, END)


def test_another_universe_rebuilds_the_columns_that_compare(
    context: Context, home: Path, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    with context_of(home, universe=["ADA/USDT", "BTC/USDT"]) as other:
        report = build_features(other, END)
        assert report.detail["rebuilt_because"] == "panel changed"
        assert law_holds(other, bars.filter(pl.col("symbol") != "ETH/USDT"), END)
        assert not build_features(other, END).changed


def test_other_markets_in_the_table_are_left_out(
    context: Context, bars: pl.DataFrame, random_bars
) -> None:
    span = {"start": START, "hours": 900}
    others = pl.concat(
        [
            random_bars(UNIVERSE, venue="upbit", seed=6, **span),
            random_bars(["LTC/USDT"], **span),
        ]
    )
    put(context, pl.concat([bars, others]), START, END)
    for as_of in (END - 2 * HOUR, END - HOUR, END):
        build_features(context, as_of)
        assert law_holds(context, bars, as_of)
    old = START + 50 * HOUR
    fewer = bars.filter((pl.col("known_at") != old) | (pl.col("symbol") != "ADA/USDT"))
    put(context, pl.concat([fewer, others]), old - HOUR, old)
    build_features(context, END)
    assert law_holds(context, fewer, END)


def test_a_build_killed_before_it_named_its_set_is_finished_by_the_next(
    context: Context, bars: pl.DataFrame
) -> None:
    put(context, bars, START, END)
    build_features(context, END)
    context.lake.set_metadata("features", {"feature_set": "of yesterday"})
    report = build_features(context, END)
    assert report.changed
    names = feature_names(context.settings)
    assert context.lake.metadata("features")["feature_set"] == feature_set_hash(names)
    assert law_holds(context, bars, END)


def test_an_empty_market_is_refused(context: Context) -> None:
    with pytest.raises(
        ContractViolation, match=r"no bar of ADA/USDT, BTC/USDT, ETH/USDT on binance"
    ):
        build_features(context, END)
    assert not context.lake.exists("features")


NOTHING_SAYS_WHAT = object()


def raises(grid: Grid) -> Array:
    raise ZeroDivisionError("no range")


def a_bar_short(grid: Grid) -> Array:
    return grid.close[:, 1:]


def whole_numbers(grid: Grid) -> Array:
    return np.ones(grid.close.shape, np.int64)


def unidentified(grid: Grid) -> Array:
    return grid.close if NOTHING_SAYS_WHAT else grid.open


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raises, "no range"),
        (a_bar_short, "it returned float64"),
        (whole_numbers, "it returned int64"),
        (unidentified, "uses NOTHING_SAYS_WHAT, which holds an object of type object"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_feature_that_fails_is_refused_by_name_with_the_way_to_look_at_it(
    context: Context, bars: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, function, reason: str
) -> None:
    put(context, bars, START, END)
    build_features(context, END - HOUR)
    version = context.lake.version("features")
    broken = replace(registry._REGISTERED["atr_14"], function=function, windows=())
    monkeypatch.setitem(registry._REGISTERED, "atr_14", broken)
    with pytest.raises(ContractViolation, match=rf"'atr_14' of volatility failed.*{reason}") as no:
        build_features(context, END)
    assert "hourglass prove leakage --features atr_14" in no.value.remedy
    assert context.lake.version("features") == version


def test_an_instant_off_the_grid_is_refused(context: Context) -> None:
    with pytest.raises(ConfigError, match="off the 1h grid"):
        build_features(context, END + timedelta(minutes=1))


def test_a_family_that_does_not_exist_is_refused(home: Path) -> None:
    with (
        context_of(home, **{"features.families": ["momentun"]}) as context,
        pytest.raises(ConfigError, match=r"\['momentun'\] do not exist; known are basis, calendar"),
    ):
        build_features(context, END)


def test_the_span_of_the_tests_is_longer_than_the_longest_lookback() -> None:
    assert required_lookback() < 800
