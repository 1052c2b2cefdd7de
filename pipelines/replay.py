"""Past hours lived again, in one process or through Airflow: the hour, the day's judgement, trainings.

The steps are those of the DAGs, in their order: the hourly chain, at midnight the lake's maintenance,
a training where one is due, and then the daily chain.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module

from pipelines.airflow.client import trigger_hour
from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.steps import DAILY_CHAIN, HOURLY_CHAIN
from pipelines.steps.maintain_lake import maintain_lake
from pipelines.steps.train import train

Progress = Callable[[int, int, str], None]
RunHour = Callable[[Context, datetime], bool]


def run_hour(context: Context, as_of: datetime) -> bool:
    """Run the hourly chain for one instant and say whether anything changed.

    The first step that refuses stops it. At midnight the lake is maintained, as the daily DAG does.
    """
    changed = _run_all(HOURLY_CHAIN, context, as_of)
    if _days(as_of) is not None:
        maintain_lake(context, as_of)
    return changed


def run_hour_and_day(retrain_every_days: int | None = None) -> RunHour:
    """Return a `run_hour` that at midnight also judges the models, and trains where one is due.

    Parameters
    ----------
    retrain_every_days : int, optional
        A training at every midnight whose day since 1970 is a multiple of it; by default none.
    """

    def run(context: Context, as_of: datetime) -> bool:
        changed, day = run_hour(context, as_of), _days(as_of)
        if day is None:
            return changed
        if retrain_every_days and day % retrain_every_days == 0:
            changed |= train(context, as_of).changed
        return changed | _run_all(DAILY_CHAIN, context, as_of)

    return run


def _run_all(chain: tuple[str, ...], context: Context, as_of: datetime) -> bool:
    changed = False
    for name in chain:
        step = getattr(import_module(f"pipelines.steps.{name}"), name)
        changed |= step(context, as_of).changed
    return changed


def _days(as_of: datetime) -> int | None:
    """Return the days since 1970 of a midnight; None of any other hour."""
    days, rest = divmod(as_of.timestamp(), timedelta(days=1).total_seconds())
    return None if rest else int(days)


def run_hour_through_airflow(context: Context, as_of: datetime) -> bool:
    """Have the stack's Airflow run `trade_hourly` for one instant; say whether the ledger went on.

    Raises
    ------
    SourceUnavailable
        If Airflow does not answer, or the run fails.
    """
    before = context.ledger.last_traded_at()
    run = trigger_hour(context.settings, as_of)
    if run["state"] != "success":
        raise SourceUnavailable(
            f"trade_hourly for {format_instant(as_of)} ended in {run['state']}",
            remedy=f"look at {run['url']}",
        )
    return context.ledger.last_traded_at() != before


def replay(
    context: Context,
    start: datetime,
    end: datetime,
    *,
    run: RunHour = run_hour,
    progress: Progress | None = None,
) -> StepReport:
    """Run the hourly chain for every `start < as_of <= end`, in order.

    Hours that were traded before change nothing.

    Raises
    ------
    ConfigError
        If the span is empty or off the grid.
    """
    timeframe = context.settings.timeframe
    check_as_of(start, timeframe)
    check_as_of(end, timeframe)
    if start >= end:
        raise ConfigError(
            f"the span {format_instant(start)} to {format_instant(end)} is empty",
            remedy="give an --end after --start",
        )
    step = timeframe_delta(timeframe)
    hours = int((end - start) / step)
    changed = 0
    began = time.perf_counter()
    for index in range(1, hours + 1):
        as_of = start + index * step
        changed += run(context, as_of)
        if progress:
            progress(index, hours, format_instant(as_of))
    seconds = time.perf_counter() - began
    detail = {
        "start": format_instant(start),
        "hours": hours,
        "hours_changed": changed,
        "seconds": round(seconds, 3),
        "seconds_per_hour": round(seconds / hours, 4),
    }
    return StepReport("replay", end, changed > 0, detail)
