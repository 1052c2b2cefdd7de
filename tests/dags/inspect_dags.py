"""Load the DAGs as Airflow's processor does and print what they are, as JSON: run by the tests.

A process of its own, because Airflow takes over logging, warnings and sys.path of the one it is in.
"""

import json
import sys
from pathlib import Path
from typing import Any

HEAVY = (
    "pandas",
    "polars",
    "torch",
    "mlflow",
    "numpy",
    "deltalake",
    "xgboost",
    "great_expectations",
    "ccxt",
)


def _task(task: Any) -> dict[str, Any]:
    return {
        "owner": task.owner,
        "retries": task.retries,
        "doc": task.doc_md,
        "upstream": sorted(task.upstream_task_ids),
        "mapped": task.is_mapped,
        "outlets": [[outlet.name, outlet.uri] for outlet in task.outlets],
    }


def _dag(dag: Any) -> dict[str, Any]:
    return {
        "file": Path(dag.fileloc).name,
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "start": dag.start_date and dag.start_date.isoformat(),
        "schedule": getattr(dag.timetable, "expression", None),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "deadline": bool(dag.deadline),
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


def _decide(policy: Any) -> dict[str, str]:
    """Return what the retry policy makes of each class of error at its first try."""
    from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable

    errors = (
        SourceUnavailable("x"),
        ContractViolation("x"),
        ConfigError("x"),
        ZeroDivisionError("x"),
    )
    return {type(e).__name__: policy.evaluate(e, 1, 2).action.value for e in errors}


def main(folder: str) -> None:
    """Print the report on the DAGs of `folder`."""
    from airflow.dag_processing.dagbag import BundleDagBag

    before = {name for name in HEAVY if name in sys.modules}
    bag = BundleDagBag(folder, bundle_path=Path(folder))
    imported = {name for name in HEAVY if name in sys.modules} - before
    import _forms
    import _shared

    report = {
        "errors": bag.import_errors,
        "dags": {dag_id: _dag(dag) for dag_id, dag in bag.dags.items()},
        "heavy": sorted(imported),
        "seconds": {Path(s.file).name: s.duration.total_seconds() for s in bag.dagbag_stats},
        "tags": sorted(_shared.TAGS),
        "overrides": _forms.overrides(
            {"as_of": "x", "model": "xgboost", "trials": None, "minutes": 1.5, "windows": 2}
        ),
        "retry": _decide(_shared.DEFAULT_ARGS["retry_policy"]),
    }
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
