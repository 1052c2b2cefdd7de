"""Airflow's executor of one machine, whose workers have imported what the tasks need.

A task is a fork of a worker, and an hour is ten tasks: without this each of them imports pandas, MLflow
or Great Expectations anew, which takes longer than its work. Only libraries are imported ahead, none
of our own modules: a feature file or a step that is edited counts from the next task on.
"""

import logging
import os
from importlib import import_module

from airflow.executors.local_executor import LocalExecutor

PRELOADED = (
    "ccxt",
    "deltalake",
    "great_expectations",
    "great_expectations.expectations",
    "httpx",
    "mlflow",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "numba",
    "pandas",
    "polars",
    "psycopg",
    "pyarrow",
    "scipy.stats",
    "sklearn.isotonic",
    "xgboost",
)
"""What an hour's tasks import. None starts threads that a fork would miss: Polars' come with its first query."""


class PreloadedLocalExecutor(LocalExecutor):
    """A `LocalExecutor` that imports `PRELOADED` before it forks its workers."""

    def start(self) -> None:
        """Import the libraries, then start the workers."""
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        # It tells of every class it registers, in the log of each task.
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        for name in PRELOADED:
            import_module(name)
        super().start()
