"""A whole training on one machine."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport
from pipelines.settings import Settings
from pipelines.steps.choose_params import choose_params
from pipelines.steps.fit_challenger import fit_challenger
from pipelines.steps.judge import judge
from pipelines.steps.plan_windows import plan_windows
from pipelines.steps.register import register
from pipelines.steps.run_window import run_window
from pipelines.steps.search import search
from pipelines.tracking.search import Progress

if TYPE_CHECKING:
    from pipelines.database import DatabaseUrls

Tell = Callable[[int, str], None]


def train(
    context: Context,
    as_of: datetime,
    versions: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> StepReport:
    """Run the steps of `retrain_daily` one after the other, the search in `search.workers` processes.

    Reads: bars, features (up to `as_of`; at `versions` of the tables, by default the newest).
    Writes: what plan_windows, search, choose_params, run_window, fit_challenger, judge and register
    write.
    Re-run: finds the training by (as_of, configuration, data); finished parts are left as they are, so
    a killed training goes on and a finished one changes nothing. Of two at the same time the second
    waits for the first.
    """
    settings = context.settings
    check_as_of(as_of, settings.timeframe)
    total = settings.training.search.trials + settings.training.split.windows + 3

    def tell(done: int, text: str) -> None:
        if progress:
            progress(done, total, text)

    tell(0, "waiting for its turn")
    with context.registry.tracking.lock("train"):
        return _train(context, as_of, versions, tell)


def _train(
    context: Context, as_of: datetime, versions: Mapping[str, int] | None, tell: Tell
) -> StepReport:
    trials = context.settings.training.search.trials
    tell(0, "reading")
    plan = plan_windows(context, as_of, versions)
    identity: str = plan.detail["training_id"]
    windows: list[int] = plan.detail["windows"]
    with _workers(context, as_of, identity):
        searched = search(context, as_of, identity, progress=lambda done, _, text: tell(done, text))
    reports = [plan, searched, choose_params(context, as_of, identity)]
    for place, window in enumerate(windows, start=1):
        reports.append(run_window(context, as_of, identity, window))
        tell(trials + place, f"window {place} of {len(windows)}")
    for place, step in enumerate((fit_challenger, judge, register), start=1):
        reports.append(step(context, as_of, identity))
        tell(trials + len(windows) + place, step.__name__.replace("_", " "))
    judged, registered = reports[-2].detail, reports[-1].detail
    detail = {**registered, "gates": judged["gates"], "windows": len(windows)}
    return StepReport("train", as_of, any(report.changed for report in reports), detail)


@contextmanager
def _workers(context: Context, as_of: datetime, identity: str) -> Iterator[None]:
    """Run the workers beyond this process; one that dies leaves its trial to the others."""
    spawn = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [
        spawn.Process(
            target=_work,
            args=(context.settings, context.databases, as_of, identity, worker),
            daemon=True,
        )
        for worker in range(1, context.settings.training.search.workers)
    ]
    for process in processes:
        process.start()
    try:
        yield
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process in processes:
            process.join()


def _work(
    settings: Settings, databases: "DatabaseUrls", as_of: datetime, identity: str, worker: int
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Context(settings, databases=databases) as context:
        search(context, as_of, identity, worker)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
