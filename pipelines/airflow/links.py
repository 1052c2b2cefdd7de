"""Buttons on Airflow's task pages."""

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from pipelines.settings import load_settings
from pipelines.stack.plan import mlflow_run_page

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class MlflowRun(BaseOperatorLink):
    """From a task of a training to its run in MLflow.

    The task's XComs `experiment_id` and `run_id` name the run; without them there is no link.
    """

    name = "MLflow run"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:  # noqa: ARG002
        """Return the address of the run's page, empty if the task opened none."""
        from airflow.sdk.execution_time.xcom import XCom

        keys = ("experiment_id", "run_id")
        experiment_id, run_id = (XCom.get_value(ti_key=ti_key, key=key) for key in keys)
        return mlflow_run_page(load_settings(), experiment_id, run_id)
