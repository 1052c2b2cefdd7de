"""### The hour: from the exchange to the paper ledger.

Ingests the bar that has just closed, checks it, builds its features, checks those, looks after the champion, feels the
pulse of drift, scores with the champion and every challenger, and trades each paper book. One run an hour, never two
at once.

**Run it by hand** with *Trigger* and an instant; running an hour again changes nothing.

**If it fails:** the task's name and the last line of its log say what. `ingest_bars` after its retries: the
exchange does not answer; wait, then clear the task. `check_bars` or `check_features`: the data broke a
contract and nothing was published; look at the `quality` and `quarantine` tables, and clear the run once the
venue has restated. `pulse_drift`, `request_retraining`: clear the task; an alarm is a row and no failure.
`watch_champion`: MLflow has none of the versions that trade; look where it points. `score_bars`: no model, or one
of another feature set; run `retrain_daily`. `trade_paper`: the ledger refused; `hourglass status` says whether it
balances. Missed hours are caught up with `hourglass replay --start --end`.
"""

from datetime import datetime

from _deadlines import late_after
from _retraining import request_retraining
from _shared import AS_OF, CRON, DEFAULT_ARGS, SETTINGS, scheduled
from _steps import step_task
from airflow.sdk import CronDataIntervalTimetable, chain, dag

from pipelines.clock import timeframe_delta
from pipelines.steps import HOURLY_CHAIN


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
    deadline=late_after(SETTINGS.stack.sla_minutes, timeframe_delta(SETTINGS.timeframe)),
)
def trade_hourly():
    """Wire the hourly chain."""
    steps = {name: step_task(name)() for name in HOURLY_CHAIN}
    chain(*steps.values())
    request_retraining(steps["pulse_drift"])


trade_hourly()
