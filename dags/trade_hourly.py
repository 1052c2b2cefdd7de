"""### The hour: from the exchange to the paper ledger.

Ingests the bar that has just closed, checks it, builds its features, checks those, scores them with the
champion and every challenger, and trades each paper book. One run an hour, never two at once.

**Run it by hand** with *Trigger* and an instant; running an hour again changes nothing.

**If it fails:** the task's name and the last line of its log say what. `ingest_bars` after its retries: the
exchange does not answer; wait, then clear the task. `check_bars` or `check_features`: the data broke a
contract and nothing was published; look at the `quality` and `quarantine` tables, and clear the run once the
venue has restated. `score_bars`: no model, or one of another feature set; run `retrain_daily`. `trade_paper`:
the ledger refused; `hourglass status` says whether it balances. Missed hours are caught up with
`hourglass replay --start --end`.
"""

from datetime import datetime, timedelta

from _shared import AS_OF, CRON, DEFAULT_ARGS, SETTINGS, scheduled
from _steps import step_task
from airflow.sdk import (
    CronDataIntervalTimetable,
    DeadlineAlert,
    DeadlineReference,
    SyncCallback,
    chain,
    dag,
)

from pipelines.clock import timeframe_delta
from pipelines.steps import HOURLY_CHAIN

SLA = SETTINGS.stack.sla_minutes


@dag(
    schedule=scheduled(CronDataIntervalTimetable(CRON[SETTINGS.timeframe], timezone="UTC")),
    start_date=datetime.fromisoformat("2021-01-01T00:00+00:00"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={"as_of": AS_OF},
    tags=["trading", "ingestion", "hourly"],
    doc_md=__doc__,
    # The interval begins one bar before the hour in which it is traded.
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timeframe_delta(SETTINGS.timeframe) + timedelta(minutes=SLA),
        callback=SyncCallback("pipelines.airflow.deadlines.record_late_hour", {"sla_minutes": SLA}),
    ),
)
def trade_hourly():
    """Wire the hourly chain."""
    chain(*(step_task(name)() for name in HOURLY_CHAIN))


trade_hourly()
