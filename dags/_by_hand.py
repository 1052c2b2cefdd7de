"""What a person asks for by hand: why, by whom, and for which instant."""

from _shared import SETTINGS
from _steps import run_step
from airflow.sdk import Param, get_current_context

from pipelines.clock import floor_to_grid

REASON = Param(
    "by hand, no reason given",
    type="string",
    minLength=1,
    title="Reason",
    description="Kept in the ledger for who reads it later.",
)


def overrule(step, *fields):
    """Run a step with what the form says in `fields`, the reason, and who triggered the run."""
    context = get_current_context()
    asked, form = context["dag_run"], context["params"]
    who = asked.triggering_user_name or "airflow"
    words = (*(form[field] or None for field in fields), form["reason"], who)
    return run_step(step, floor_to_grid(asked.run_after, SETTINGS.timeframe), *words)
