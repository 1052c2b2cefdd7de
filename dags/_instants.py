"""Which instant a run works for."""

from datetime import datetime

from _shared import SETTINGS
from airflow.sdk import get_current_context

from pipelines import clock


def as_of() -> datetime:
    """Return the run's instant: that of its form, of the event that began it, or its interval's end."""
    context = get_current_context()
    run = context["dag_run"]
    if given := context["params"].get("as_of") or _asked_for(run.consumed_asset_events):
        return clock.parse_instant(given)
    # A run that an asset began has no interval.
    return clock.floor_to_grid(run.data_interval_end or run.run_after, SETTINGS.timeframe)


def _asked_for(events):
    """Return the newest of the instants that events carry; None of one sent by hand."""
    return max(filter(None, (event.extra.get("as_of") for event in events)), default=None)
