from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.airflow.deadlines import record_late_run
from pipelines.clock import parse_instant
from pipelines.context import Context
from pipelines.settings import Settings

HOUR = datetime(2024, 6, 1, 14, tzinfo=UTC)


@pytest.fixture
def in_this_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOURGLASS_HOME", str(settings.home))
    return settings


def _report(end: str | None) -> dict[str, Any]:
    run = {"dag_id": "trade_hourly", "data_interval_end": end, "state": "running"}
    return {"dag_run": run, "deadline": {"id": "1"}}


def test_a_late_hour_leaves_one_failed_check_however_often_it_is_told(
    in_this_home: Settings,
) -> None:
    for _ in range(2):
        record_late_run(10.0, context=_report("2024-06-01T14:00:00Z"))
    with Context(in_this_home) as context:
        rows = context.lake.read("quality", end=parse_instant("2030-01-01")).to_dicts()
    assert len(rows) == 1
    assert rows[0] | {"checked_at": None} == {
        "table": "trade_hourly",
        "check": "done_within_sla",
        "venue": "binance",
        "symbol": "",
        "known_at": HOUR,
        "observed": "running at the deadline",
        "bound": "success within 10 minutes",
        "passed": False,
        "failing_rows": 0,
        "checked_at": None,
    }


def test_an_hour_of_the_past_that_was_triggered_by_hand_is_not_late(in_this_home: Settings) -> None:
    record_late_run(10.0, context=_report(None))
    with Context(in_this_home) as context:
        assert not context.lake.exists("quality")


def test_a_late_daily_round_is_written_at_its_midnight(in_this_home: Settings) -> None:
    late = _report("2024-06-02T00:40:00Z")
    late["dag_run"]["dag_id"] = "monitor_daily"
    record_late_run(120.0, context=late)
    with Context(in_this_home) as context:
        (row,) = context.lake.read("quality", end=parse_instant("2030-01-01")).to_dicts()
    told = (row["table"], row["known_at"], row["bound"])
    assert told == ("monitor_daily", parse_instant("2024-06-02"), "success within 120 minutes")
