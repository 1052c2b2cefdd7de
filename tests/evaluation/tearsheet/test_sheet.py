import dataclasses
import json
import math
from collections.abc import Callable

import polars as pl
import pytest

from evaluation.tearsheet import Sections, TrackRecord, tear_sheet

Build = Callable[..., TrackRecord]
CURVE = [100.0, 110.0, 99.0, 108.9, 120.0]
HOLD = [100.0, 120.0, 90.0, 108.0, 100.0]


def test_a_sheet_stands_beside_buying_and_holding(build_record: Build) -> None:
    sheet = tear_sheet(build_record(CURVE), title="model 7", benchmark=build_record(HOLD))
    assert (sheet.title, sheet.bars, sheet.initial_cash) == ("model 7", 4, 100.0)
    assert sheet.metrics["total_return"] == pytest.approx(0.2)
    assert sheet.benchmark["total_return"] == pytest.approx(0.0)
    # sum of (r - mean)(b - mean) over sum of (b - mean)^2, by hand
    assert sheet.metrics["beta"] == pytest.approx(0.0536167 / 0.1465457, rel=1e-5)
    assert sheet.curve["buy_and_hold"].to_list() == HOLD[1:]
    assert sheet.curve["exposure"].to_list() == [0.5] * 4
    assert sheet.explanation.startswith("Of 4 bar-symbols 4 were scored")


def test_trades_and_months_are_part_of_the_figures(build_record: Build) -> None:
    metrics = tear_sheet(build_record(CURVE), title="x").metrics
    assert metrics["expectancy"] == 2.5
    assert metrics["expectancy_r"] == 0.5
    # January ends at 108.9 and gains 8.9 %, February gains 10.2 %: nothing lost, nothing to divide by
    assert math.isnan(metrics["gain_to_pain_months"])
    assert "alpha" not in metrics
    assert "deflated_sharpe" not in metrics


def test_the_search_is_charged_where_its_trials_are_known(build_record: Build) -> None:
    record = build_record(CURVE)
    alone = tear_sheet(record, title="x", trials=1, trial_variance=4.0).metrics
    chosen = tear_sheet(record, title="x", trials=500, trial_variance=4000.0).metrics
    assert alone["deflated_sharpe"] == alone["probabilistic_sharpe"]
    assert chosen["deflated_sharpe"] < alone["deflated_sharpe"]
    assert chosen["trials"] == 500
    with pytest.raises(ValueError, match="variance nan"):
        tear_sheet(record, title="x", trials=3)


def test_regimes_are_by_trend_and_by_the_stress_that_is_given(build_record: Build) -> None:
    labels = pl.Series(["calm", "storm", None, "calm"])
    record = dataclasses.replace(build_record(CURVE), stress=labels)
    sheet = tear_sheet(record, title="x", benchmark=build_record(HOLD))
    assert sheet.by_regime.select("kind", "regime", "bars").rows() == [
        ("stress", "calm", 2),
        ("stress", "storm", 1),
    ]


def test_a_record_without_bars_or_of_other_bars_is_refused(build_record: Build) -> None:
    with pytest.raises(ValueError, match="no bars"):
        tear_sheet(build_record([100.0]), title="x")
    with pytest.raises(ValueError, match="the benchmark has 2 bars and the record 4"):
        tear_sheet(build_record(CURVE), title="x", benchmark=build_record(HOLD[:3]))


def test_json_is_strict_and_says_null_for_what_is_not_defined(build_record: Build) -> None:
    sections = Sections(capacity=pl.DataFrame({"capital": [1e4], "sharpe": [math.inf]}))
    sheet = tear_sheet(build_record(CURVE, gains=[]), title="x", sections=sections)
    read = json.loads(json.dumps(sheet.as_json(), allow_nan=False))
    assert read["metrics"]["win_rate"] is None
    assert read["start"] == "2024-01-31T22:00:00+00:00"
    assert read["timeframe"] == 3600.0
    assert read["curve"][1]["equity"] == 99.0
    assert read["sections"]["capacity"] == [{"capital": 10000.0, "sharpe": None}]
    assert read["sections"]["stress"] is None
    assert read["trades"] == []


def test_a_bankruptcy_makes_a_sheet_and_not_an_error(build_record: Build) -> None:
    sheet = tear_sheet(build_record([100.0, 50.0, 0.0, 0.0]), title="x")
    assert sheet.metrics["total_return"] == -1.0
    assert json.dumps(sheet.as_json(), allow_nan=False)
