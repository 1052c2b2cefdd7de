"""Load the DAGs as Airflow's processor does and print what they are, as JSON: run by the tests.

A process of its own, because Airflow takes over logging, warnings and sys.path of the one it is in.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
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
        "at_once": task.max_active_tis_per_dagrun,
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
        "schedule": getattr(_clock(dag.timetable), "expression", None),
        "begun_by": _begun_by(dag.timetable),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "deadline": bool(dag.deadline),
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


def _clock(timetable: Any) -> Any:
    return getattr(timetable, "timetable", timetable)


def _begun_by(timetable: Any) -> list[list[str]]:
    """Return name and address of the assets that begin a run."""
    condition = getattr(timetable, "asset_condition", None)
    return [] if condition is None else [[a.name, a.uri] for a in condition.objects]


def _instants() -> dict[str, str]:
    """Return the instant for which a run works, by what says so."""
    import _instants

    at = "2024-06-01T{}:20:00+00:00"

    def of(given: str | None, end: str | None, *extras: dict[str, str]) -> str:
        run = SimpleNamespace(
            consumed_asset_events=[SimpleNamespace(extra=extra) for extra in extras],
            data_interval_end=end and datetime.fromisoformat(at.format(end)),
            run_after=datetime.fromisoformat(at.format("15")),
        )
        context = {"dag_run": run, "params": {"as_of": given}}
        _instants.get_current_context = lambda: context
        return _instants.as_of().isoformat()

    first, second = ({"as_of": f"2024-06-01T{hour}:00+00:00"} for hour in ("10", "11"))
    return {
        "form": of("2024-06-01T09:00+00:00", "14", first),
        "event": of(None, None, first),
        "events": of(None, None, second, first, {}),
        "event by hand": of(None, None, {"from_rest_api": "true"}),
        "interval": of(None, "14"),
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
    import _models
    import _shared

    report = {
        "errors": bag.import_errors,
        "dags": {dag_id: _dag(dag) for dag_id, dag in bag.dags.items()},
        "heavy": sorted(imported),
        "seconds": {Path(s.file).name: s.duration.total_seconds() for s in bag.dagbag_stats},
        "tags": sorted(_shared.TAGS),
        "overrides": _forms.overrides(
            {"models": ["tcn", "xgboost"], "trials": None, "minutes": 1.5, "windows": 2}
        ),
        "instants": _instants(),
        "others": [
            _models.other_runs({"as_of": None, "models": models, "trials": 3}, NOON)
            for models in (["tcn", "logistic", "xgboost"], ["tcn"], None)
        ],
        "retry": _decide(_shared.DEFAULT_ARGS["retry_policy"]),
    }
    print("REPORT " + json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
