"""What every DAG must be: wiring only, and documented for the person woken at night."""

import ast
from pathlib import Path
from typing import Any

import pytest

from pipelines.steps import HOURLY_CHAIN
from training.models import MODELS

# Airflow is started once for both modules.
pytestmark = [pytest.mark.airflow]

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))
# Light modules of the shell that a DAG may import when it is parsed.
LIGHT = {
    "pipelines.airflow",
    "pipelines.clock",
    "pipelines.errors",
    "pipelines.settings",
    "pipelines.steps",
}
DAG_IDS = (
    "backfill", "change_champion", "control_book", "monitor_daily", "retrain_daily", "trade_hourly",
)  # fmt: skip


def _parse_time_imports(path: Path) -> set[str]:
    """Modules imported when the file is parsed: those of functions are imported by the task."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            from_package = node.module in ("pipelines", "pipelines.steps")
            found |= {
                f"{node.module}.{a.name}" if from_package else node.module for a in node.names
            }
    return found


def test_all_dags_load_without_errors(inspection: dict[str, Any]) -> None:
    assert inspection["errors"] == {}
    assert sorted(inspection["dags"]) == list(DAG_IDS)


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_is_named_like_its_file_and_says_who_owns_it(
    dag_id: str, inspection: dict[str, Any]
) -> None:
    dag = inspection["dags"][dag_id]
    assert dag["file"] == f"{dag_id}.py"
    assert {task["owner"] for task in dag["tasks"].values()} == {"hourglass"}
    assert {task["retries"] for task in dag["tasks"].values()} == {2}


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dags_page_ends_with_what_to_do_if_it_fails(
    dag_id: str, inspection: dict[str, Any]
) -> None:
    last_paragraph = inspection["dags"][dag_id]["doc"].strip().split("\n\n")[-1]
    assert last_paragraph.startswith("**If it fails:**")


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_tags_come_from_the_closed_vocabulary(dag_id: str, inspection: dict[str, Any]) -> None:
    tags = set(inspection["dags"][dag_id]["tags"])
    assert tags
    assert tags <= set(inspection["tags"])


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_no_dag_catches_up_and_none_runs_twice_at_once(
    dag_id: str, inspection: dict[str, Any]
) -> None:
    dag = inspection["dags"][dag_id]
    assert not dag["catchup"]
    assert dag["max_active_runs"] == 1


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_every_param_has_a_title_for_the_form(dag_id: str, inspection: dict[str, Any]) -> None:
    for name, schema in inspection["dags"][dag_id]["params"].items():
        assert schema["title"], name
        assert schema["type"], name


def test_steps_bring_their_own_documentation(inspection: dict[str, Any]) -> None:
    for dag_id in ("trade_hourly", "retrain_daily", "monitor_daily"):
        for task in inspection["dags"][dag_id]["tasks"].values():
            assert "Reads:" in task["doc"]
            assert "Re-run:" in task["doc"]


def test_the_hour_is_the_hourly_chain_in_order(inspection: dict[str, Any]) -> None:
    tasks = inspection["dags"]["trade_hourly"]["tasks"]
    assert tuple(tasks) == (*HOURLY_CHAIN, "request_retraining")
    upstream = [tasks[name]["upstream"] for name in HOURLY_CHAIN]
    assert upstream == [[], *([name] for name in HOURLY_CHAIN[:-1])]
    assert inspection["dags"]["trade_hourly"]["deadline"]
    assert inspection["dags"]["trade_hourly"]["schedule"] == "0 * * * *"


def test_the_daily_round_judges_what_was_verified_and_then_reports(
    inspection: dict[str, Any],
) -> None:
    dag = inspection["dags"]["monitor_daily"]
    upstream = {name: set(task["upstream"]) for name, task in dag["tasks"].items()}
    assert upstream["close_outcomes"] == {"maintain_lake", "verify_ledger"}
    for name in ("compare_models", "check_drift"):
        assert upstream[name] == {"close_outcomes"}
    assert upstream["promote_model"] == {"compare_models", "check_drift"}
    assert upstream["write_report"] == {"promote_model"}
    assert dag["deadline"]
    assert list(dag["params"]) == ["as_of", "mode", "level"]


def test_a_person_is_asked_after_the_evidence_and_the_answer_is_settled(
    inspection: dict[str, Any],
) -> None:
    tasks = inspection["dags"]["monitor_daily"]["tasks"]
    upstream = {name: set(task["upstream"]) for name, task in tasks.items()}
    assert upstream["is_proposed"] == {"promote_model"}
    assert upstream["approve_promotion"] == {"is_proposed"}
    assert upstream["settle_promotion"] == {"promote_model", "approve_promotion"}


def test_a_person_who_changes_the_champion_says_to_whom_and_why(inspection: dict[str, Any]) -> None:
    params = inspection["dags"]["change_champion"]["params"]
    assert params["action"]["enum"] == ["promote", "rollback"]
    assert (params["reason"]["type"], params["reason"]["minLength"]) == ("string", 1)
    assert list(inspection["dags"]["change_champion"]["tasks"]) == ["change_champion"]


def test_a_new_stack_trades_the_newest_hour_at_once_but_waits_for_midnight_to_retrain(
    inspection: dict[str, Any],
) -> None:
    """Airflow runs the newest missed interval of a DAG that has a start date, and of no other."""
    starts = {dag_id: dag["start"] for dag_id, dag in inspection["dags"].items()}
    assert starts.pop("trade_hourly") == "2021-01-01T00:00:00+00:00"
    assert set(starts.values()) == {None}


def test_a_person_who_overrules_says_what_which_book_and_why(inspection: dict[str, Any]) -> None:
    params = inspection["dags"]["control_book"]["params"]
    assert params["action"]["enum"] == ["pause", "resume", "liquidate"]
    assert "enum" not in params["book"]
    assert (params["reason"]["type"], params["reason"]["minLength"]) == ("string", 1)
    assert list(inspection["dags"]["control_book"]["tasks"]) == ["control_book"]


def test_a_training_maps_over_its_search_workers_and_its_windows(
    inspection: dict[str, Any],
) -> None:
    tasks = inspection["dags"]["retrain_daily"]["tasks"]
    assert tasks["search"]["mapped"]
    assert tasks["search"]["upstream"] == ["plan_windows"]
    assert "search" in tasks["choose_params"]["upstream"]
    assert tasks["run_window"]["mapped"]
    assert tasks["run_window"]["at_once"] == 3, "stack.parallel_windows"
    assert "choose_params" in tasks["run_window"]["upstream"]
    assert "run_window" in tasks["fit_challenger"]["upstream"]
    assert "fit_challenger" in tasks["judge"]["upstream"]
    assert "judge" in tasks["register"]["upstream"]


def test_the_form_of_a_training_chooses_model_budget_and_span(inspection: dict[str, Any]) -> None:
    params = inspection["dags"]["retrain_daily"]["params"]
    assert list(params) == ["as_of", "models", "trials", "minutes", "windows", "train_days"]
    assert inspection["overrides"] == {
        "training.model": "tcn",
        "training.search.timeout_seconds": 90.0,
        "training.split.windows": 2,
    }


def test_the_form_offers_every_model_that_can_be_asked_for(inspection: dict[str, Any]) -> None:
    models = inspection["dags"]["retrain_daily"]["params"]["models"]
    assert (models["type"], models["uniqueItems"]) == (["null", "array"], True)
    assert (
        models["items"]["enum"]
        == models["examples"]
        == [name for name in MODELS if name != "grouped"]
    )


def test_every_model_but_the_first_is_trained_by_a_run_of_its_own(
    inspection: dict[str, Any],
) -> None:
    several, one, none = inspection["others"]
    assert [run["conf"] for run in several] == [
        {"as_of": "2024-06-01T12:00:00+00:00", "models": [name], "trials": 3}
        for name in ("logistic", "xgboost")
    ]
    assert [run["trigger_run_id"].rpartition("__")[0] for run in several] == [
        f"form__2024-06-01T12:00:00+00:00__{name}" for name in ("logistic", "xgboost")
    ]
    assert one == none == []
    tasks = inspection["dags"]["retrain_daily"]["tasks"]
    assert (tasks["train_others"]["mapped"], tasks["train_others"]["upstream"]) == (
        True,
        ["other_models"],
    )


def test_drift_that_asks_for_it_begins_a_retraining_early(inspection: dict[str, Any]) -> None:
    """The event is of a task of its own, which is skipped where nothing is asked for."""
    retraining = ["retraining", "hourglass://drift/retraining"]
    dags = inspection["dags"]
    assert dags["retrain_daily"]["begun_by"] == [retraining]
    assert dags["retrain_daily"]["schedule"] == "15 0 * * *"
    for dag_id, step in (("trade_hourly", "pulse_drift"), ("monitor_daily", "check_drift")):
        asking = dags[dag_id]["tasks"]["request_retraining"]
        assert (asking["upstream"], asking["outlets"]) == ([step], [retraining])
        others = [
            task for name, task in dags[dag_id]["tasks"].items() if name != "request_retraining"
        ]
        assert all("request_retraining" not in task["upstream"] for task in others)


def test_a_run_works_for_the_instant_of_its_form_its_event_or_its_interval(
    inspection: dict[str, Any],
) -> None:
    """A run that an event began has no interval; several events at once count as the newest."""
    hours = {how: instant[11:16] for how, instant in inspection["instants"].items()}
    assert hours == {
        "form": "09:00",
        "event": "10:00",
        "events": "11:00",
        "event by hand": "15:00",
        "interval": "14:00",
    }


def test_no_asset_has_two_addresses(inspection: dict[str, Any]) -> None:
    outlets = [
        (name, uri)
        for dag in inspection["dags"].values()
        for task in dag["tasks"].values()
        for name, uri in task["outlets"]
    ]
    assert len({name for name, _ in outlets}) == len(set(outlets)) == len({u for _, u in outlets})
    assert {"bars", "features", "scores", "equity"} <= {name for name, _ in outlets}


def test_only_what_may_pass_is_tried_again(inspection: dict[str, Any]) -> None:
    assert inspection["retry"] == {
        "SourceUnavailable": "retry",
        "ContractViolation": "fail",
        "ConfigError": "fail",
        "ZeroDivisionError": "default",
    }


def test_parsing_imports_nothing_heavy(inspection: dict[str, Any]) -> None:
    assert inspection["heavy"] == []
    for path in FILES:
        ours = {name for name in _parse_time_imports(path) if name.startswith("pipelines")}
        assert {".".join(name.split(".")[:2]) for name in ours} <= LIGHT, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_dags_is_at_most_sixty_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_dags_only_wires(path: Path) -> None:
    """No class, no loop over data, no arithmetic on frames: functions and calls."""
    kinds = {type(node) for node in ast.walk(ast.parse(path.read_text()))}
    assert not kinds & {ast.ClassDef, ast.While, ast.Try, ast.AsyncFunctionDef, ast.Lambda}
