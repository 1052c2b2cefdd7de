from datetime import UTC, datetime, timedelta

from polars.testing import assert_frame_equal

from pipelines.steps.maintain_lake import maintain_lake
from pipelines.tables import BARS

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)


def test_small_files_become_one_and_a_second_run_changes_nothing(open_context, make_bars):
    context = open_context("http://127.0.0.1:1")
    bars = make_bars(START, hours=5)
    for hour in range(5):
        known = START + (hour + 1) * STEP
        context.lake.replace(
            BARS, bars.filter(bars["known_at"] == known), start=known - STEP, end=known
        )
    as_of = START + 5 * STEP
    report = maintain_lake(context, as_of)
    assert report.detail == {
        "tables": {"bars": {"files_before": 5, "files_after": 1, "files_deleted": 0}}
    }
    version = context.lake.version("bars")
    assert not maintain_lake(context, as_of).changed
    assert context.lake.version("bars") == version
    assert_frame_equal(context.lake.read("bars", end=as_of), bars)
    # Within the retention the past is still there.
    assert context.lake.read("bars", end=as_of, version=2).height == 6
