"""From Airflow's task pages to MLflow, and back from what a run wrote down."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from pipelines.settings import Settings, load_settings
from pipelines.stack.plan import airflow_url, mlflow_run_page

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


def origin_of(settings: Settings, dag_run: Any) -> dict[str, str]:
    """Return which run of a DAG it was, with its page, as tags."""
    page = f"dags/{quote(dag_run.dag_id, safe='')}/runs/{quote(dag_run.run_id, safe='')}"
    return {
        "airflow.dag_id": dag_run.dag_id,
        "airflow.run_id": dag_run.run_id,
        "airflow.url": f"{airflow_url(settings)}/{page}",
    }


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
