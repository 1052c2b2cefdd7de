"""The executor that imports the tasks' libraries before it forks its workers."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.database import DatabaseUrls
from pipelines.settings import load_settings
from pipelines.stack.plan import components

_OWN = ("dags", "evaluation", "features", "pipelines", "serving", "training")
_SCRIPT = f"""
import os, sys
from pipelines.airflow.executor import PRELOADED, PreloadedLocalExecutor

def main():
    executor = PreloadedLocalExecutor(parallelism=1)
    executor.start()
    try:
        assert not set(PRELOADED) - set(sys.modules)
        own = {{name for name in sys.modules if name.partition(".")[0] in {_OWN!r}}}
        assert own == {{"pipelines", "pipelines.airflow", "pipelines.airflow.executor"}}, own
        assert [worker.is_alive() for worker in executor.workers.values()] == [True]
        pid = os.fork()
        if not pid:
            # What needs threads finds them in a fork, as a task does.
            import numpy as np, polars as pl, xgboost
            frame = pl.DataFrame({{"a": np.arange(1_000_000) % 7, "b": np.arange(1_000_000)}})
            sums = frame.lazy().group_by("a").agg(pl.col("b").sum()).sort("a").collect()
            rows = xgboost.DMatrix(np.arange(2000.0).reshape(-1, 1), np.arange(2000) % 2)
            xgboost.train({{"nthread": 2, "max_depth": 3}}, rows, 3)
            os._exit(0 if sums["b"].sum() == 499999500000 else 1)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        executor.end()
    print("done")

main()
"""


def test_workers_have_the_libraries_and_none_of_our_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "done"


def test_the_stack_of_one_machine_uses_it_and_celery_its_own(home: Path) -> None:
    urls = DatabaseUrls(*(f"postgresql+psycopg://h/{name}" for name in "slmoa"))
    # Named, not imported: Airflow makes a home of its own where it is imported.
    named = "pipelines.airflow.executor.PreloadedLocalExecutor"
    celery = {"stack.executor": "CeleryExecutor", "stack.broker_url": "redis://127.0.0.1/0"}
    for keys, executor in (({}, named), (celery, "CeleryExecutor")):
        settings = load_settings({"home": str(home), **keys}, environ={})
        parts = {part.name: part.environment for part in components(settings, urls, {})}
        assert parts["airflow-scheduler"]["AIRFLOW__CORE__EXECUTOR"] == executor
