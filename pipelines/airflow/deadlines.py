"""What happens when a run is late: a row that says so, next to the other failed checks."""

import logging
from typing import Any

from pipelines import clock
from pipelines.context import Context
from pipelines.settings import load_settings

_log = logging.getLogger(__name__)


def record_late_run(minutes: float, context: dict[str, Any]) -> None:
    """Write a failed `quality` row for a run of a DAG that missed its deadline.

    Airflow calls it, once a missed deadline, in a worker.

    Parameters
    ----------
    minutes : float
        The bound, after the hour or the daily round was due.
    context : dict
        Airflow's report: `dag_run` (its JSON, of which `dag_id` and `data_interval_end`) and `deadline`.
    """
    # Airflow imports this module wherever it parses the DAG; only the callback itself needs frames.
    import polars as pl

    from pipelines.tables import QUALITY

    run = context["dag_run"]
    settings = load_settings()
    # A run without an interval was started by hand, for an instant of the past: it cannot be late.
    if run["data_interval_end"] is None:
        return
    as_of = clock.floor_to_grid(clock.parse_instant(run["data_interval_end"]), settings.timeframe)
    row: dict[str, Any] = {
        "table": run["dag_id"],
        "check": "done_within_sla",
        "venue": settings.venue,
        "symbol": "",
        "known_at": as_of,
        "observed": f"{run['state']} at the deadline",
        "bound": f"success within {minutes:g} minutes",
        "passed": False,
        "failing_rows": 0,
        "checked_at": clock.now(),
    }
    frame = pl.DataFrame([row], schema=QUALITY.schema)
    where = {"table": [run["dag_id"]], "check": ["done_within_sla"]}
    with Context(settings) as world:
        step = clock.timeframe_delta(settings.timeframe)
        world.lake.replace(QUALITY, frame, start=as_of - step, end=as_of, where=where)
    _log.error("%s of %s is late: %s", run["dag_id"], row["known_at"], row["observed"])
