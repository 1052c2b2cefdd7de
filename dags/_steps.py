"""How a step becomes a task. Steps are imported by the task, never when the DAG is parsed."""

import ast
import json
import logging
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _shared import OUTLETS, SETTINGS
from airflow.sdk import get_current_context, task

from pipelines import clock
from pipelines.settings import load_settings


def as_of() -> datetime:
    """Return the instant the run works for: its Param, else the end of its interval, on the grid."""
    context = get_current_context()
    run = context["dag_run"]
    given = context["params"].get("as_of")
    if given:
        return clock.parse_instant(given)
    return clock.floor_to_grid(run.data_interval_end or run.run_after, SETTINGS.timeframe)


def run_step(name: str, *arguments: Any, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run `pipelines.steps.<name>` as `step(context, *arguments)`; log and return its report."""
    from pipelines.context import Context
    from pipelines.revision import source_revision

    step = getattr(import_module(f"pipelines.steps.{name}"), name)
    with Context(load_settings(overrides)) as context:
        report = {**step(context, *arguments).as_json(), "revision": source_revision()}
    logging.getLogger("hourglass").info("%s", json.dumps(report))
    return report


def step_task(name: str) -> Any:
    """Return the task of a step that takes nothing but `as_of`."""

    @task(task_id=name, doc_md=step_doc(name), outlets=OUTLETS.get(name, []))
    def run() -> dict[str, Any]:
        return run_step(name, as_of())

    return run()


def step_doc(name: str) -> str:
    """Read a step's docstring (Reads / Writes / Re-run) without importing the step."""
    folder = Path(next(iter(find_spec("pipelines.steps").submodule_search_locations)))
    tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
    step = next(node for node in tree.body if getattr(node, "name", "") == name)
    return ast.get_docstring(step) or ""
