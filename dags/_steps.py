"""How a step becomes a task. Steps are imported by the task, never when the DAG is parsed."""

import ast
import json
import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from _assets import OUTLETS
from _forms import overrides
from _instants import as_of
from airflow.sdk import get_current_context, task

from pipelines.settings import load_settings

LOG = logging.getLogger("hourglass")
SECRET = {"database_url": True, "lake": {"storage_options"}, "stack": {"broker_url"}}


def run_step(name: str, *arguments: Any) -> dict[str, Any]:
    """Run `pipelines.steps.<name>`, with the settings that the run's form decides; return its report."""
    from pipelines.airflow.links import origin_of
    from pipelines.context import Context
    from pipelines.tracking.revision import source_revision

    settings = load_settings(overrides(get_current_context()["params"]))
    LOG.info("settings %s", settings.model_dump_json(exclude=SECRET))
    step = getattr(import_module(f"pipelines.steps.{name}"), name)
    with Context(settings, origin=origin_of(settings, get_current_context()["dag_run"])) as context:
        report = {**step(context, *arguments).as_json(), "revision": source_revision()}
    LOG.info("report %s", json.dumps(report))
    return report.pop("detail") | report


def step_task(name: str, *, returns: str | None = None, **options: Any) -> Any:
    """Return the task of a step, to be called with what the step takes beside `as_of`.

    Its value is the step's report, or its entry `returns`; what names a training is an XCom too.
    """
    tree = ast.parse(find_spec(f"pipelines.steps.{name}").loader.get_source(None))
    step = next(node for node in tree.body if getattr(node, "name", "") == name)

    @task(task_id=name, doc_md=ast.get_docstring(step), outlets=OUTLETS.get(name, []), **options)
    def run(training_id=None, window=None, worker=None) -> Any:
        given = [value for value in (training_id, window, worker) if value is not None]
        report = run_step(name, as_of(), *given)
        for key in {"training_id", "experiment_id", "run_id"} & report.keys():
            get_current_context()["ti"].xcom_push(key, report[key])
        return report if returns is None else report[returns]

    return run
