"""A whole training in one process."""

from collections.abc import Callable, Mapping
from datetime import datetime

from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport
from pipelines.steps.fit_challenger import fit_challenger
from pipelines.steps.judge import judge
from pipelines.steps.plan_windows import plan_windows
from pipelines.steps.register import register
from pipelines.steps.run_window import run_window
from pipelines.tracking.search import Progress


def train(
    context: Context,
    as_of: datetime,
    versions: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> StepReport:
    """Run the steps of `retrain_daily` one after the other.

    Reads: bars, features (up to `as_of`; at `versions` of the tables, by default the newest).
    Writes: what plan_windows, run_window, fit_challenger, judge and register write.
    Re-run: finds the training by (as_of, configuration, data); finished parts are left as they are, so
    a killed training goes on and a finished one changes nothing. Of two at the same time the second
    waits for the first.
    """
    settings = context.settings
    check_as_of(as_of, settings.timeframe)
    trials, windows = settings.training.search.trials, settings.training.split.windows
    total = trials + windows + 3

    def tell(done: int, text: str) -> None:
        if progress:
            progress(done, total, text)

    tell(0, "waiting for its turn")
    with context.registry.tracking.lock("train"):
        return _train(context, as_of, versions, tell)


def _train(
    context: Context,
    as_of: datetime,
    versions: Mapping[str, int] | None,
    tell: Callable[[int, str], None],
) -> StepReport:
    trials = context.settings.training.search.trials
    windows = context.settings.training.split.windows
    plan = plan_windows(context, as_of, versions, lambda done, _, text: tell(done, text))
    identity: str = plan.detail["training_id"]
    reports = [plan]
    for place, window in enumerate(plan.detail["windows"], start=1):
        reports.append(run_window(context, as_of, identity, window))
        tell(trials + place, f"window {place} of {windows}")
    for place, step in enumerate((fit_challenger, judge, register), start=1):
        reports.append(step(context, as_of, identity))
        tell(trials + windows + place, step.__name__.replace("_", " "))
    judged, registered = reports[-2].detail, reports[-1].detail
    detail = {**registered, "gates": judged["gates"], "windows": len(plan.detail["windows"])}
    return StepReport("train", as_of, any(report.changed for report in reports), detail)
