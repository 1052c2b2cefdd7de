"""The daily look for drift, on a champion that was trained and has scored."""

import shutil
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from pipelines.clock import format_instant
from pipelines.errors import ContractViolation
from pipelines.steps.check_drift import check_drift
from pipelines.steps.pulse_drift import pulse_drift
from pipelines.steps.score_bars import score_bars
from pipelines.tables import SCORES, features_table
from pipelines.tracking.drift_reference import HASH_TAG, REFERENCE_FILE, read_drift_reference

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=46)
NAMES = ["realised_vol_72", "atr_14", "ema_gap_24_96", "btc_correlation_168", "vol_ratio_24_168"]
# Without Bitcoin nothing correlates with it.
ALIVE = [name for name in NAMES if name != "btc_correlation_168"]


@pytest.fixture
def own(watched, tmp_path):
    """A trained world over a copy of its lake, scored up to NOW, with a home for its pages."""
    world, _ = watched
    copy = tmp_path / "lake"
    shutil.copytree(world.settings.home / "lake", copy)
    with world.open(lake__uri=str(copy), home=str(tmp_path / "home")) as context:
        score_bars(context, NOW)
        yield context


def drift(context):
    return context.lake.read("drift", end=NOW + timedelta(days=30))


def shift(context, start):
    """Make one feature live elsewhere after `start`."""
    end = AS_OF + timedelta(days=2)
    features = context.lake.read("features", start=start, end=end)
    moved = features.with_columns(ema_gap_24_96=pl.col("ema_gap_24_96") + pl.lit(9, pl.Float32))
    context.lake.replace(features_table(NAMES), moved, start=start, end=end)


def test_a_day_is_rows_of_every_question_a_decision_metrics_and_a_page(own) -> None:
    report = check_drift(own, NOW)
    rows = drift(own)
    assert report.changed
    assert set(rows["group"]) == {
        "features", "joint", "predictions", "outcomes", "estimated", "decision",
    }  # fmt: skip
    of_features = rows.filter(pl.col("group") == "features")
    assert of_features.height == 4 * len(NAMES)
    measured = of_features.filter(pl.col("observed").is_not_null())
    assert set(measured["feature"]) == set(ALIVE)
    assert measured["n"].to_list() == [21 * 3] * measured.height
    dead = of_features.filter(pl.col("observed").is_null())
    assert dead["reason"].unique().to_list() == [
        "too few values in the window, or in the reference"
    ]
    outcomes = rows.filter(pl.col("group") == "outcomes")
    assert set(outcomes["statistic"]) == {"brier", "miss_rate", "page_hinkley", "adwin"}
    assert outcomes["observed"].is_not_null().all()
    # The run is every test's: of what was logged, that of this instant counts.
    run_id, stamp = own.registry.version_info("1").run_id, round(NOW.timestamp() * 1000)
    history = own.registry.tracking.client.get_metric_history
    logged = {m.value for m in history(run_id, "drift_alarms") if m.timestamp == stamp}
    assert report.detail["alarms"] in logged
    chances = of_features["joint_p"].drop_nulls()
    told = {m.value for m in history(run_id, "drift_p_features") if m.timestamp == stamp}
    assert chances.min() in told


def test_a_second_run_finds_all_in_place(own) -> None:
    run_id = own.registry.version_info("1").run_id
    history = own.registry.tracking.client.get_metric_history
    check_drift(own, NOW)
    version, logged = own.lake.version("drift"), len(history(run_id, "drift_alarms"))
    again = check_drift(own, NOW)
    assert not again.changed
    assert own.lake.version("drift") == version
    assert len(history(run_id, "drift_alarms")) == logged


def test_what_became_known_later_changes_nothing(own) -> None:
    check_drift(own, NOW - 5 * HOUR)
    before = drift(own).drop("checked_at")
    shift(own, NOW - 5 * HOUR)
    assert not check_drift(own, NOW - 5 * HOUR).changed
    assert drift(own).drop("checked_at").equals(before)


def test_a_shifted_feature_asks_for_one_retraining_a_period(own) -> None:
    shift(own, NOW - 30 * HOUR)
    first = check_drift(own, NOW - HOUR)
    second = check_drift(own, NOW)
    alarms = drift(own).filter(pl.col("alarm") & (pl.col("group") == "features"))
    assert set(alarms["feature"]) == {"ema_gap_24_96"}
    assert (alarms["observed"] > alarms["cut"]).all()
    assert first.detail["retrain"]
    assert first.detail["alarms"] >= 1
    assert not second.detail["retrain"]
    assert "a retraining was asked for at 2024-02-01T21:00" in second.detail["reason"]
    assert check_drift(own, NOW - HOUR).detail["retrain"], "asked again, the day decides the same"


def test_day_and_pulse_of_one_instant_leave_each_others_rows(own, beating) -> None:
    check_drift(own, NOW)
    of_the_day = drift(own)
    pulse_drift(own, NOW)
    both = drift(own)
    assert both.filter(pl.col("group") != "pulse").equals(of_the_day)
    assert both.height == of_the_day.height + 1
    check_drift(own, NOW)
    assert not check_drift(own, NOW).changed, "its page has the pulse now"
    assert not pulse_drift(own, NOW).changed
    assert drift(own).equals(both)


def test_day_and_pulse_share_one_request_a_period(own, beating, move_all) -> None:
    """At one instant the pulse comes first, whichever of the two ran first."""
    move_all(own, NOW - 30 * HOUR, NOW + HOUR)
    late = check_drift(own, NOW).detail
    assert late["retrain"]
    assert pulse_drift(own, NOW).detail["retrain"], "the hour knows nothing of what came after it"
    again = check_drift(own, NOW).detail
    assert not again["retrain"]
    assert "a retraining was asked for at 2024-02-01T22:00" in again["reason"]
    next_hour = pulse_drift(own, NOW + HOUR).detail
    assert (next_hour["alarms"], next_hour["retrain"]) == (1, False)
    assert "a retraining was asked for at 2024-02-01T22:00" in next_hour["reason"]
    assert pulse_drift(own, NOW).detail["retrain"], "asked again, the hour decides the same"


def test_the_page_shows_hours_whose_pulse_alarmed(own, beating, move_all) -> None:
    move_all(own, NOW - 2 * HOUR, NOW)
    for hours in (3, 1, 0):
        pulse_drift(own, NOW - hours * HOUR)
    page = Path(check_drift(own, NOW).detail["path"]).read_text(encoding="utf-8")
    assert page.count("<h2>Pulse by day</h2>") == 1
    assert page.count(": joint p ") == len(ALIVE) + 1, "a row for the pulse, with one day of it"
    assert 'class="when">2024-02-01T21:00Z</td><td class="number">1</td>' in page
    assert page.count('class="when">') == 2
    assert "asked: 1 alarms, first pulse * outermost_share: 1 is above" in page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and v]


def test_the_page_draws_distributions_and_days_and_asks_nobody(own) -> None:
    check_drift(own, NOW - HOUR)
    path = Path(check_drift(own, NOW).detail["path"])
    assert path == own.settings.home / "reports" / "drift" / "2024-02-01.html"
    page = _Reader()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.outside == []
    assert page.tags.count("svg") == len(ALIVE)
    assert page.tags.count("figure") == len(ALIVE)
    assert page.tags.count("i") == 30 * len(ALIVE)
    assert path.read_text(encoding="utf-8").count(": joint p ") == len(ALIVE)


def _artifact(context) -> Path:
    """Give the run a tampered reference, and return to what stood."""
    run_id = context.registry.version_info("1").run_id
    uri = context.registry.tracking.client.get_run(run_id).info.artifact_uri
    return Path(uri.removeprefix("file://")) / REFERENCE_FILE


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.write_bytes(b"not what was logged"), "has hash"),
        (lambda path: path.unlink(), "is not among its artifacts"),
    ],
)
def test_a_reference_that_cannot_be_read_is_a_row_with_its_reason(own, harm, reason) -> None:
    path = _artifact(own)
    whole = path.read_bytes()
    try:
        harm(path)
        report = check_drift(own, NOW)
    finally:
        path.write_bytes(whole)
    rows = drift(own).filter(pl.col("group") == "reference")
    assert rows["statistic"].to_list() == ["not_measured"]
    assert reason in rows["reason"].item()
    assert report.detail["alarms"] == 0
    assert not report.detail["retrain"]
    assert "Not measured" in Path(report.detail["path"]).read_text(encoding="utf-8")


def test_a_model_of_before_there_were_references_says_so(own) -> None:
    info = own.registry.version_info("1")
    del info.tags[HASH_TAG]
    with pytest.raises(ContractViolation, match="was never logged"):
        read_drift_reference(own, info)


def test_features_of_another_set_are_a_row_with_its_reason(own) -> None:
    own.lake.set_metadata("features", {"feature_set": "set-2"})
    check_drift(own, NOW)
    rows = drift(own).filter(pl.col("group") == "reference")
    assert "another set than set-1" in rows["reason"].item()


def test_an_hour_without_a_score_leaves_what_came_of_the_others_measured(own) -> None:
    silent = NOW - 15 * HOUR
    scores = own.lake.read("scores", start=silent - HOUR, end=silent)
    own.lake.replace(SCORES, scores.head(0), start=silent - HOUR, end=silent)
    check_drift(own, NOW)
    outcomes = drift(own).filter(pl.col("group") == "outcomes")
    assert set(outcomes["statistic"]) == {"brier", "miss_rate", "page_hinkley", "adwin"}


def test_a_champion_that_was_deleted_is_a_row_with_its_reason(own, monkeypatch) -> None:
    def gone(version):
        raise ContractViolation(f"model hourglass has no version {version}", remedy="train again")

    monkeypatch.setattr(own.registry, "version_info", gone)
    check_drift(own, NOW)
    rows = drift(own).filter(pl.col("group") == "reference")
    assert "has no version 1" in rows["reason"].item()
    assert "has no version 1" in pulse_drift(own, NOW).detail["reason"]


def test_a_training_that_knows_as_much_is_not_asked_for(own, monkeypatch) -> None:
    shift(own, NOW - 30 * HOUR)
    begun = SimpleNamespace(data=SimpleNamespace(tags={"as_of": format_instant(NOW)}))
    with monkeypatch.context() as patch:
        patch.setattr(own.registry.tracking, "trainings", lambda _: [begun])
        report = check_drift(own, NOW)
    assert not report.detail["retrain"]
    assert "a training for 2024-02-01T22:00Z was begun already" in report.detail["reason"]
    assert check_drift(own, NOW).detail["retrain"]
    monkeypatch.setattr(own.registry.tracking, "trainings", lambda _: [begun])
    assert check_drift(own, NOW).detail["retrain"], "the training that was asked for is no reason"


def test_without_a_champion_there_is_nothing_to_drift_from(world) -> None:
    with world.open() as context:
        report = check_drift(context, AS_OF)
        assert not report.changed
        assert report.detail["note"] == "no model is champion yet"
