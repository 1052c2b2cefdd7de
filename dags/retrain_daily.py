"""### Retraining: a challenger from the newest data.

Plans a walk-forward and searches hyper-parameters on its oldest training span, fits and scores every test
window once (one mapped task a window), fits the challenger on all history, judges it against chance and
costs, and registers it. From the next bar on it trades a book of its own beside the champion's.

**Run it by hand** with *Trigger*: an instant, and how many trials the search may add.

**If it fails:** `plan_windows` with a contract violation: too little history, or features of another set; run
`backfill`. A `run_window`: clear it alone, the others keep their results. `fit_challenger`, `judge`,
`register`: clear the task; a finished part is never done twice. The *MLflow run* button of the first and the
third task shows what was tried. The champion goes on trading all the while.
"""

from datetime import timedelta

from _shared import AS_OF, DEFAULT_ARGS, scheduled
from _steps import step_task
from airflow.sdk import CronTriggerTimetable, Param, dag

from pipelines.airflow.links import MlflowRun

TRIALS = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Trials",
    description="Trials the search may add. Empty: the setting training.search.trials.",
)


@dag(
    # After the first hour of the day; without a start date a missed day is not made up for.
    schedule=scheduled(
        CronTriggerTimetable("15 0 * * *", timezone="UTC", run_immediately=timedelta(0))
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={"as_of": AS_OF, "trials": TRIALS},
    tags=["training", "daily"],
    doc_md=__doc__,
)
def retrain_daily():
    """Wire the training."""
    plan = step_task("plan_windows", returns="windows")()
    identity = plan["training_id"]
    windows = step_task("run_window", max_active_tis_per_dagrun=2).partial(training_id=identity)
    fit = step_task("fit_challenger")(identity)
    judged = step_task("judge")(identity)
    windows.expand(window=plan) >> fit >> judged >> step_task("register")(identity)
    for trained in (plan, fit):
        trained.operator.operator_extra_links = (MlflowRun(),)


retrain_daily()
