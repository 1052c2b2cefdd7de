"""### History: bars of a past span, checked, with features.

Fetches the bars of a span that are not there yet (an interrupted run goes on where it stopped), then checks
them and builds features up to its end. It places no order: missed hours of trading are caught up with
`hourglass replay`.

**Run it by hand** with *Trigger*: from when, to when, which symbols, which stages.

**If it fails:** `fetch`: the exchange did not answer, or answered with bars that differ from those on file;
read the log, clear the task. `check`: the bars broke a contract; the `quality` table says which. `features`:
clear the task.
"""

from _shared import DEFAULT_ARGS, SETTINGS
from _steps import run_step
from airflow.sdk import Param, chain, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.clock import floor_to_grid, parse_instant

STAGES = {"fetch": "backfill", "check": "check_bars", "features": "build_features"}
WHEN = {"type": "string", "format": "date-time"}
PARAMS = {
    "start": Param(SETTINGS.ingest.history_start, title="From (UTC)", **WHEN),
    "end": Param(None, type=["null", "string"], format="date-time", title="To (UTC)",
                 description="Empty: the newest closed bar."),
    "symbols": Param([], type="array", items={"type": "string"}, examples=list(SETTINGS.universe),
                     title="Symbols", description="Empty: all of the universe."),
    "stages": Param(list(STAGES), type="array", items={"type": "string", "enum": list(STAGES)},
                    examples=list(STAGES), minItems=1, title="Stages"),
}  # fmt: skip


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=PARAMS,
    tags=["ingestion", "manual"],
    doc_md=__doc__,
)
def backfill():
    """Wire one task a stage."""

    @task(trigger_rule="none_failed")
    def run(stage):
        context = get_current_context()
        params, run_after = context["params"], context["dag_run"].run_after
        if stage not in params["stages"]:
            raise AirflowSkipException(f"stage {stage} was not asked for")
        end = parse_instant(params["end"] or floor_to_grid(run_after, SETTINGS.timeframe))
        span = (parse_instant(params["start"]), end) if stage == "fetch" else (end,)
        return run_step(STAGES[stage], *span)

    chain(*(run.override(task_id=stage)(stage) for stage in STAGES))


backfill()
