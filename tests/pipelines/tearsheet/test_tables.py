from collections.abc import Callable

import pytest

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.figures import BY_KEY, TILES
from pipelines.tearsheet.tables import (
    breakdown_tables,
    capacity_table,
    cost_tables,
    extreme_trades,
    figures,
    monte_carlo_rows,
    months_table,
    sensitivity_tables,
    stress_table,
    trades_table,
    waterfall_bars,
    waterfall_table,
)

Build = Callable[..., TearSheet]


def test_every_figure_that_is_measured_is_shown(build_sheet: Build) -> None:
    measured = set(build_sheet().metrics)
    # of bars it is omega - 1; the page shows that of months
    assert measured - set(BY_KEY) == {"gain_to_pain"}
    assert set(BY_KEY) <= measured
    assert set(TILES) <= set(BY_KEY)


def test_a_figure_without_its_benchmark_or_search_is_left_out(build_sheet: Build) -> None:
    labels = [row[0] for row in figures(build_sheet(300, 3, plain=True), "Reward for risk")]
    assert "Sharpe ratio" in labels
    assert "Trials before it" not in labels


def test_all_tables_find_their_columns(build_sheet: Build) -> None:
    sheet = build_sheet(bars=800)
    optional = [stress_table(sheet), capacity_table(sheet), *sensitivity_tables(sheet)]
    tables = [
        months_table(sheet), trades_table(sheet), waterfall_table(sheet), *breakdown_tables(sheet),
        *extreme_trades(sheet), *cost_tables(sheet), *optional,
    ]  # fmt: skip
    assert len(tables) == 15
    assert all(len(row) == len(t.columns) for t in tables if t is not None for row in t.rows())


@pytest.mark.parametrize(
    ("count", "best", "worst"), [(0, 0, 0), (1, 1, 0), (7, 4, 3), (300, 10, 10)]
)
def test_no_trade_is_among_the_best_and_the_worst(
    build_sheet: Build, count: int, best: int, worst: int
) -> None:
    tables = extreme_trades(build_sheet(800, count))
    assert [t.frame.height for t in tables] == [best, worst]
    if worst:
        assert tables[0].frame["realised"].min() > tables[1].frame["realised"].max()
        assert tables[1].frame["realised"].is_sorted()


def test_the_waterfall_says_what_each_rule_stopped(build_sheet: Build) -> None:
    rows = {
        stage: (left, stopped) for stage, left, stopped in waterfall_table(build_sheet()).rows()
    }
    assert rows["after no_trade_band"] == (640, 11_310)
    assert rows["filled"] == (572, None)


def test_bars_of_the_waterfall_are_roots_of_shares(build_sheet: Build) -> None:
    bars = waterfall_bars(build_sheet())
    assert bars[0] == 1.0
    assert bars[-1] == pytest.approx(1 / 30)


def test_the_summary_of_paths_reads_by_name(build_sheet: Build) -> None:
    kinds = {label: kind for label, kind, _ in monte_carlo_rows(build_sheet())}
    assert kinds["paths"] == "count"
    assert kinds["return, percentile 5"] == kinds["mean return"] == "percent"
    assert kinds["drawdown, percentile 5"] == "percent"
    assert kinds["probability of loss"] == kinds["probability of a drawdown beyond 10 %"] == "share"


def test_what_was_not_measured_has_no_table(build_sheet: Build) -> None:
    sheet = build_sheet(300, 0, plain=True)
    assert stress_table(sheet) is None
    assert capacity_table(sheet) is None
    assert sensitivity_tables(sheet) == []
    assert monte_carlo_rows(sheet) == []
