"""### The daily round: lake, ledger, outcomes, challengers, drift, promotion, report.

Compacts the lake, verifies the ledger and its audit chain, closes scores with what came of them, compares every
challenger with the champion, holds the last window against what the champion was trained on, and puts every
challenger to the gates: one that passes them all is promoted, or proposed to a person (*Required actions* shows
the evidence; no answer in time is a rejection). The report is one page of books, comparisons and failed checks.

**Run it by hand** with *Trigger*: an instant, who decides about a promotion, and how surely books are compared.

**If it fails:** `maintain_lake`: the disk or the object store; it is done again tomorrow. `verify_ledger`, or
`close_outcomes` with books that do not add up: somebody changed the ledger outside the pipeline, or a disk lied:
pause `trade_hourly`, restore the database from its backup and replay the hours since. Any other: clear it; an
alarm, a pair that cannot be compared, a promotion that is refused are rows with a reason and no failure.
`hourglass rollback` takes a promotion back.
"""

from datetime import timedelta

from _approval import ask_a_person, hours_for_an_answer
from _deadlines import late_after
from _judging_form import JUDGING
from _retraining import request_retraining
from _shared import AS_OF, DEFAULT_ARGS, SETTINGS, scheduled
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
    params={"as_of": AS_OF, **JUDGING},
    tags=["monitoring", "daily"],
    doc_md=__doc__,
    deadline=late_after(SETTINGS.stack.daily_sla_minutes, hours_for_an_answer()),
)
def monitor_daily():
    """Wire the daily round."""
    report = step_task("write_report")()
    maintained, verified = step_task("maintain_lake")(), step_task("verify_ledger")()
    closed, compared = step_task("close_outcomes")(), step_task("compare_models")()
    drifted, decided = step_task("check_drift")(), step_task("promote_model")()
    [maintained, verified] >> closed >> compared >> decided >> report
    closed >> drifted >> decided
    request_retraining(drifted)
    ask_a_person(decided)


monitor_daily()
