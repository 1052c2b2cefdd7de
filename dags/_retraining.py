"""An early retraining: drift asks for it with an event, and the event begins a run."""

from datetime import timedelta

from _assets import OUTLETS
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

ASKED = OUTLETS["request_retraining"]


def daily_or_when_asked(cron):
    """Return the schedule of runs at the times of `cron`, and whenever a retraining is asked for."""
    daily = CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
    return AssetOrTimeSchedule(timetable=daily, assets=ASKED)


@task(outlets=ASKED)
def request_retraining(report):
    """Begin `retrain_daily` where drift asks for it; skipped, and without an event, where it does not.

    Reads: the report of the step before.
    Writes: an event of the asset `retraining` that carries the instant to train for.
    Re-run: asks once more for the same instant, and that training is found as it was left.
    """
    if not report.get("retrain"):
        raise AirflowSkipException(f"no retraining is asked for: {report.get('reason')}")
    for asset in ASKED:
        extra = {"as_of": report["as_of"], "reason": report["reason"]}
        get_current_context()["outlet_events"][asset].extra = extra
