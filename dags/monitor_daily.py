"""### The daily round: lake, ledger, challengers, drift, report.

Compacts the lake and forgets versions older than its retention, checks that every posting balances and that
the audit chain is unbroken, compares every challenger with the champion, holds the last window against what the
champion was trained on, and writes the report: one page with every book's equity, trades and costs, the comparisons,
and the checks that failed.

**If it fails:** `maintain_lake`: the disk or the object store; nothing is lost, it is done again tomorrow.
`verify_ledger`: somebody changed the ledger outside the pipeline, or a disk lied: stop trading (pause
`trade_hourly`), restore the database from its backup and replay the hours since. `compare_models`: clear it; a
pair that cannot be compared is a row with its reason and no failure. `check_drift`: clear it; an alarm, or a
reference that cannot be read, is a row and no failure. `write_report`: read its log; nothing
depends on it.
"""

from datetime import timedelta

from _shared import AS_OF, DEFAULT_ARGS, scheduled
from _steps import step_task
from airflow.sdk import CronTriggerTimetable, dag


@dag(
    # Between two hours; without a start date a missed day is not made up for.
    schedule=scheduled(
        CronTriggerTimetable("40 0 * * *", timezone="UTC", run_immediately=timedelta(0))
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={"as_of": AS_OF},
    tags=["monitoring", "daily"],
    doc_md=__doc__,
)
def monitor_daily():
    """Wire the daily round."""
    report = step_task("write_report")()
    maintained, verified = step_task("maintain_lake")(), step_task("verify_ledger")()
    compared, drifted = step_task("compare_models")(), step_task("check_drift")()
    [maintained, verified] >> compared >> report
    [maintained, verified] >> drifted >> report


monitor_daily()
