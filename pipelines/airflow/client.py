"""Airflow's REST API, as far as the pipeline needs it: run a DAG for one instant and watch it."""

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import httpx

from pipelines.clock import parse_instant
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.settings import Settings
from pipelines.stack.plan import airflow_url, asks_for_password, passwords_file

_POLL_SECONDS = 0.5
_ENDED = ("success", "failed")


class AirflowClient:
    """A logged-in client of the stack's Airflow.

    Raises
    ------
    SourceUnavailable
        If Airflow does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = airflow_url(settings)
        self._http = httpx.Client(base_url=self._url, timeout=30.0, trust_env=False)
        self._http.headers["Authorization"] = f"Bearer {self._token(settings)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def _token(self, settings: Settings) -> str:
        """Log in: as anybody on loopback, with the generated password elsewhere."""
        if asks_for_password(settings):
            password = json.loads(passwords_file(settings).read_text(encoding="utf-8"))["admin"]
            answer = self._ask(
                "POST", "/auth/token", json={"username": "admin", "password": password}
            )
        else:
            answer = self._ask("GET", "/auth/token")
        return str(answer["access_token"])

    def wait_for_dag(self, dag_id: str, *, patience_seconds: float = 60.0) -> None:
        """Wait until the DAG processor has published `dag_id`.

        Raises
        ------
        ConfigError
            If it has import errors, does not appear in time, or is paused.
        """
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            answer = self._request("GET", f"/api/v2/dags/{dag_id}")
            if answer.status_code == httpx.codes.OK:
                return _refuse_paused(answer.json())
            time.sleep(_POLL_SECONDS)
        errors = self._ask("GET", "/api/v2/importErrors")["import_errors"]
        found = errors[0]["stack_trace"].strip().splitlines()[-1] if errors else "no import error"
        raise ConfigError(
            f"Airflow has no DAG {dag_id} after {patience_seconds:.0f} s: {found}",
            remedy="read logs/airflow-dag-processor.log under the home",
        )

    def trigger(self, dag_id: str, params: Mapping[str, Any]) -> str:
        """Start a run of `dag_id` and return its id."""
        body = {"logical_date": None, "conf": dict(params)}
        return str(self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def wait_for_run(
        self, dag_id: str, run_id: str, *, patience_seconds: float = 600.0
    ) -> dict[str, Any]:
        """Wait until a run has ended and return it with its tasks.

        Returns
        -------
        dict
            `dag_id`, `run_id`, `state` ("success" or "failed"), `seconds` from trigger to end, `tasks`:
            task id to `state`, `seconds`, `try_number`.

        Raises
        ------
        SourceUnavailable
            If it has not ended in time.
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        deadline = time.monotonic() + patience_seconds
        while (run := self._ask("GET", path))["state"] not in _ENDED:
            if time.monotonic() > deadline:
                raise SourceUnavailable(
                    f"{dag_id} {run_id} is still {run['state']} after {patience_seconds:.0f} s",
                    remedy=f"look at {self._url}/dags/{dag_id}/runs/{run_id}",
                )
            time.sleep(_POLL_SECONDS)
        instances = self._ask("GET", f"{path}/taskInstances")["task_instances"]
        return {
            "dag_id": dag_id,
            "run_id": run_id,
            "state": run["state"],
            "seconds": round(_seconds(run["queued_at"], run["end_date"]), 2),
            "tasks": {_name(task): _summary(task) for task in sorted(instances, key=_order)},
            "url": f"{self._url}/dags/{dag_id}/runs/{run_id}",
        }

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._request(method, path, **options)
        if answer.is_error:
            raise ConfigError(
                f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:300]}",
                remedy="check the DAG's name and its Params",
            )
        return dict(answer.json())

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise SourceUnavailable(
                f"Airflow does not answer at {self._url}: {error}", remedy="run `hourglass up`"
            ) from error
        if answer.is_server_error:
            raise SourceUnavailable(
                f"Airflow answers {answer.status_code} to {method} {path}",
                remedy="read logs/airflow-api-server.log under the home",
            )
        return answer


def trigger_hour(settings: Settings, as_of: datetime) -> dict[str, Any]:
    """Run `trade_hourly` for one instant through Airflow and return how it went.

    See `AirflowClient.wait_for_run` for the keys and the errors.
    """
    with AirflowClient(settings) as airflow:
        airflow.wait_for_dag("trade_hourly")
        run_id = airflow.trigger("trade_hourly", {"as_of": as_of.isoformat()})
        return airflow.wait_for_run("trade_hourly", run_id)


def _refuse_paused(dag: Mapping[str, Any]) -> None:
    if dag["is_paused"]:
        raise ConfigError(
            f"{dag['dag_id']} is paused in Airflow: its runs would wait", remedy="unpause it there"
        )


def _seconds(start: str | None, end: str | None) -> float:
    if start is None or end is None:
        return 0.0
    return (parse_instant(end) - parse_instant(start)).total_seconds()


def _order(task: Mapping[str, Any]) -> tuple[str, int]:
    # A task that never started comes last.
    return (task["start_date"] or "9", task["map_index"])


def _name(task: Mapping[str, Any]) -> str:
    return (
        f"{task['task_id']}[{task['map_index']}]"
        if task["map_index"] >= 0
        else str(task["task_id"])
    )


def _summary(task: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state": task["state"],
        "seconds": round(_seconds(task["start_date"], task["end_date"]), 2),
        "try_number": task["try_number"],
    }
