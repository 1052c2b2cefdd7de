"""The hourly pulse of drift, on a champion that was trained."""

import shutil
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.quality import CheckResult
from pipelines.quality.gate import add
from pipelines.steps.pulse_drift import pulse_drift
from pipelines.tables import features_table

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=46)


@pytest.fixture
def own(trained, tmp_path):
    """The trained world over a copy of its lake."""
    world, _ = trained
    copy = tmp_path / "lake"
    shutil.copytree(world.settings.home / "lake", copy)
    with world.open(lake__uri=str(copy)) as context:
        yield context


def drift(context):
    return context.lake.read("drift", end=NOW + timedelta(days=30)).drop("checked_at")


def reason_of(context, report) -> str:
    """The one row that says why nothing was measured; the report says the same and asks for nothing."""
    (row,) = drift(context).to_dicts()
    assert (row["group"], row["statistic"], row["observed"]) == ("pulse", "not_measured", None)
    assert (report.detail["alarms"], report.detail["retrain"]) == (0, False)
    assert report.detail["reason"] == row["reason"]
    return row["reason"]


def test_an_hour_as_usual_is_one_row_and_a_second_run_finds_it(own, beating) -> None:
    report = pulse_drift(own, NOW)
    (row,) = drift(own).to_dicts()
    assert report.changed
    assert (row["model_version"], row["known_at"]) == ("1", NOW)
    assert (row["group"], row["feature"], row["statistic"]) == ("pulse", "*", "outermost_share")
    # Four features of three symbols: without Bitcoin nothing correlates with it.
    assert (row["n"], row["alarm"], row["reason"]) == (12, False, "")
    assert 0.0 <= row["observed"] < row["cut"] < 1.0
    assert report.detail == {
        "champion": "1",
        "observed": row["observed"],
        "cut": row["cut"],
        "alarms": 0,
        "retrain": False,
        "reason": "",
    }
    version = own.lake.version("drift")
    assert not pulse_drift(own, NOW).changed
    assert own.lake.version("drift") == version


def test_an_hour_far_off_asks_for_a_retraining_once(own, beating, move_all) -> None:
    move_all(own, NOW - 2 * HOUR, NOW)
    before, first, second = (pulse_drift(own, NOW - hours * HOUR) for hours in (2, 1, 0))
    asked = drift(own).filter(pl.col("statistic") == "retrain").sort("known_at")
    assert [report.detail["alarms"] for report in (before, first, second)] == [0, 1, 1]
    assert asked["known_at"].to_list() == [NOW - HOUR, NOW]
    assert asked["alarm"].to_list() == [True, False]
    assert first.detail["retrain"]
    assert not second.detail["retrain"]
    assert second.detail["reason"].endswith("a retraining was asked for at 2024-02-01T21:00Z")
    assert pulse_drift(own, NOW - HOUR).detail == first.detail


def test_what_became_known_later_changes_no_pulse(own, beating, move_all) -> None:
    pulse_drift(own, NOW - HOUR)
    rows = drift(own)
    move_all(own, NOW - HOUR, NOW)
    pulse_drift(own, NOW)
    assert not pulse_drift(own, NOW - HOUR).changed
    assert drift(own).filter(pl.col("known_at") < NOW).equals(rows)


def test_an_hour_that_was_mended_takes_its_request_back(own, beating, move_all) -> None:
    whole = own.lake.read("features", start=NOW - HOUR, end=NOW)
    move_all(own, NOW - HOUR, NOW)
    assert pulse_drift(own, NOW).detail["retrain"]
    own.lake.replace(features_table(whole.columns[3:]), whole, start=NOW - HOUR, end=NOW)
    assert not pulse_drift(own, NOW).detail["retrain"]
    assert drift(own)["statistic"].to_list() == ["outermost_share"]


def test_a_training_too_short_for_a_pulse_is_a_row_with_its_reason(own) -> None:
    report = pulse_drift(own, NOW)
    assert "the training holds 20 days" in reason_of(own, report)
    assert not pulse_drift(own, NOW).changed


def test_an_hour_without_features_is_a_row_with_its_reason(own, beating) -> None:
    report = pulse_drift(own, NOW + 10 * HOUR)
    assert reason_of(own, report) == "the features of the hour were not built"


def test_a_refused_hour_is_a_row_with_its_reason_until_it_passes(own, beating) -> None:
    def checked(passed: bool) -> None:
        check = CheckResult("features", "null_share", "binance", "", NOW, "x", "y", passed, 0)
        add(own.lake, [check])

    checked(False)
    report = pulse_drift(own, NOW)
    assert reason_of(own, report) == "the features of the hour failed their check"
    checked(True)
    assert pulse_drift(own, NOW).changed
    assert drift(own)["statistic"].to_list() == ["outermost_share"]


def test_features_of_another_set_are_a_row_with_its_reason(own, beating) -> None:
    own.lake.set_metadata("features", {"feature_set": "set-2"})
    report = pulse_drift(own, NOW)
    assert reason_of(own, report) == "the features at hand are set set-2, not set-1"


def test_without_a_champion_there_is_no_pulse(world) -> None:
    with world.open() as context:
        report = pulse_drift(context, AS_OF)
        assert not report.changed
        assert (report.detail["retrain"], report.detail["reason"]) == (
            False,
            "no model is champion yet",
        )
        assert not context.lake.exists("drift")
