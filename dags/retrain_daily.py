"""### Retraining: a challenger from the newest data.

Plans a walk-forward, searches hyper-parameters on its oldest training span (one mapped task a worker, all on
one study), fits and scores every test window once (one mapped task a window), fits the challenger on all
history, judges it against chance and costs, and registers it. From the next bar on it trades a book of its own
beside the champion's.

**Run it by hand** with *Trigger*: an instant, the models (each of a run of its own, one after the other), the
search's trials or minutes, and the span it learns from. The same choices for the same instant find the training
they left. Drift may begin it early, with an event of the asset `retraining`.

**If it fails:** `plan_windows` with a contract violation: too little history, or features of another set; run
`backfill`. A `search` or a `run_window`: clear it alone; finished trials and the other windows stand.
`choose_params`, `fit_challenger`, `judge`, `register`: clear the task; a finished part is never done twice. A full
disk or an MLflow that is down: mend it and clear the task; nothing is registered by halves. The *MLflow run* button
of the first task and of the fit shows what was tried. The champion goes on trading all the while.
"""

from _models import train_others
from _retraining import daily_or_when_asked
from _shared import AS_OF, DEFAULT_ARGS, SETTINGS, scheduled
from _steps import step_task
from _training_form import TRAINING
from airflow.sdk import dag

from pipelines.airflow.links import MlflowRun


@dag(
    # After the first hour of the day; without a start date a missed day is not made up for.
    schedule=scheduled(daily_or_when_asked("15 0 * * *")),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={"as_of": AS_OF, **TRAINING},
    tags=["training", "daily"],
    doc_md=__doc__,
)
def retrain_daily():
    """Wire the training."""
    train_others()
    plan = step_task("plan_windows")()
    identity = plan["training_id"]
    workers = list(range(SETTINGS.training.search.workers))
    searched = step_task("search").partial(training_id=identity).expand(worker=workers)
    chosen = step_task("choose_params", returns="windows")(identity)
    at_once = SETTINGS.stack.parallel_windows
    window = step_task("run_window", max_active_tis_per_dagrun=at_once)
    windows = window.partial(training_id=identity).expand(window=chosen)
    fit = step_task("fit_challenger")(identity)
    judged = step_task("judge")(identity)
    searched >> chosen
    windows >> fit >> judged >> step_task("register")(identity)
    for trained in (plan, fit):
        trained.operator.operator_extra_links = (MlflowRun(),)


retrain_daily()
