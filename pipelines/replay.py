"""The hourly chain in one process, hour by hour, through the steps that Airflow runs."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module

from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError
from pipelines.steps import HOURLY_CHAIN
from pipelines.steps.maintain_lake import maintain_lake

Progress = Callable[[int, int, str], None]


def run_hour(context: Context, as_of: datetime) -> list[StepReport]:
    """Run the hourly chain for one instant; the first step that refuses stops it."""
    return [
        getattr(import_module(f"pipelines.steps.{name}"), name)(context, as_of)
        for name in HOURLY_CHAIN
    ]


def replay(
    context: Context, start: datetime, end: datetime, *, progress: Progress | None = None
) -> StepReport:
    """Run the hourly chain for every `start < as_of <= end`, in order.

    The lake is maintained at every midnight, as the daily DAG does. Hours that were traded before
    change nothing.

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
        reports = run_hour(context, as_of)
        changed += any(report.changed for report in reports)
        if as_of.timestamp() % timedelta(days=1).total_seconds() == 0:
            maintain_lake(context, as_of)
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
