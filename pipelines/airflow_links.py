"""Buttons on Airflow's task pages."""

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from pipelines.settings import load_settings
from pipelines.stack_plan import mlflow_url

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class MlflowRun(BaseOperatorLink):
    """From a task of a training to its run in MLflow.

    The task's return value names the run: `experiment_id` and `run_id`; without them there is no link.
    """

    name = "MLflow run"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:  # noqa: ARG002
        """Return the address of the run's page, empty if the task opened none."""
        from airflow.sdk.execution_time.xcom import XCom

        return run_page(XCom.get_value(ti_key=ti_key, key="return_value"))


def run_page(result: Any) -> str:
    """Return the MLflow page of the run that a task's return value names, empty if it names none."""
    named = isinstance(result, dict) and result.get("run_id") and result.get("experiment_id")
    if not named:
        return ""
    settings = load_settings()
    server = settings.mlflow.tracking_uri or mlflow_url(settings)
    return f"{server}/#/experiments/{result['experiment_id']}/runs/{result['run_id']}"
