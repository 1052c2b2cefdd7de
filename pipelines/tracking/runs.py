"""MLflow, as this project uses it: one experiment, one parent run a training, one child a window.

Runs are found by tags that say what they are (`kind`, `training_id`, `window`), never by who made
them, so a step that is run again continues the run it left. Without `mlflow.tracking_uri` the
client talks to the database itself; no server is needed.
"""

import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zlib import crc32

import sqlalchemy as sa

from pipelines.clock import format_instant
from pipelines.database import DatabaseUrls
from pipelines.errors import ConfigError, SourceUnavailable, policy_error, root_reason
from pipelines.settings import Settings
from pipelines.tracking.artifacts import Artifacts
from pipelines.tracking.revision import source_revision

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PARENT_TAG = "mlflow.parentRunId"
COMMIT_TAG = "mlflow.source.git.commit"
_MOST = 1000
_ACTIVE_ONLY = 1  # mlflow.entities.ViewType.ACTIVE_ONLY, which is slow to import
_QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server that is down is a matter of seconds, then of the task's own retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Tracking(Artifacts):
    """Runs and their files.

    Parameters
    ----------
    settings : Settings
    databases : DatabaseUrls
        Of which the MLflow database is used where no tracking server is set.
    """

    def __init__(self, settings: Settings, databases: DatabaseUrls) -> None:
        super().__init__(settings.artifact_uri)
        self._settings = settings
        self._databases = databases

    @cached_property
    def client(self) -> "MlflowClient":
        """The client; the first one of an empty database creates its tables (about a second).

        Raises
        ------
        SourceUnavailable
            If neither the server nor the database answers.
        ConfigError
            If what answers is no MLflow server.
        """
        _quieten()
        import mlflow
        from mlflow.exceptions import MlflowException

        uri = self._settings.mlflow.tracking_uri or self._databases.mlflow
        try:
            with self.lock("mlflow tables"), warnings.catch_warnings():
                # MLflow maps its tables by a strategy that SQLAlchemy 2.1 deprecates.
                warnings.simplefilter("ignore", sa.exc.SADeprecationWarning)
                mlflow.set_tracking_uri(uri)
                client = mlflow.tracking.MlflowClient(tracking_uri=uri, registry_uri=uri)
                client.search_experiments(max_results=1)
        except (MlflowException, sa.exc.OperationalError) as error:
            where = self._settings.mlflow.tracking_uri or "the MLflow database"
            if policy_error(error) is None:
                raise ConfigError(
                    f"{where} is no MLflow server: {root_reason(error)}",
                    remedy="mend mlflow.tracking_uri, or unset it to use the database itself",
                ) from error
            raise SourceUnavailable(
                f"MLflow at {where} does not answer: {root_reason(error)}",
                remedy="start it (`hourglass up`), or unset mlflow.tracking_uri",
            ) from error
        return client

    @cached_property
    def experiment_id(self) -> str:
        """The experiment of the training runs; made on first use."""
        name = self._settings.mlflow.experiment
        with self.lock(f"mlflow experiment {name}"):
            found = self.client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            location = self._settings.artifact_uri
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return str(self.client.create_experiment(name, location, tags))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of this name against every other process on the same databases."""
        engine = sa.create_engine(self._databases.mlflow, poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(
                sa.text("SELECT pg_advisory_lock(:key)"), {"key": crc32(name.encode())}
            )
            yield

    def run_of(self, training_id: str) -> "Run | None":
        """Return the parent run of a training, or None."""
        return self._one({"kind": "training", "training_id": training_id})

    def open_training(self, training_id: str, as_of: datetime, tags: Mapping[str, str]) -> "Run":
        """Return the parent run of a training, running: found, reopened or made."""
        wanted = {"kind": "training", "training_id": training_id, "as_of": format_instant(as_of)}
        return self._open(wanted, f"train {wanted['as_of']}", tags)

    def open_window(self, parent: str, training_id: str, number: int) -> "Run":
        """Return the child run of one window, running: found, reopened or made."""
        wanted = {"kind": "window", "training_id": training_id, "window": str(number)}
        return self._open(wanted, f"window {number}", {PARENT_TAG: parent})

    def windows_of(self, training_id: str) -> list["Run"]:
        """Return the finished window runs of a training, in order."""
        runs = self._search({"kind": "window", "training_id": training_id})
        done = [run for run in runs if run.info.status == "FINISHED"]
        return sorted(done, key=lambda run: int(run.data.tags["window"]))

    def trainings(self, as_of: datetime) -> list["Run"]:
        """Return the parent runs of all trainings up to `as_of`, deleted ones too, oldest first.

        Taking a run out of sight does not take back that it was tried.
        """
        from mlflow.entities import ViewType

        # Text compares as time does: instants are written in one form.
        runs = self._search({"kind": "training"}, view=ViewType.ALL)
        known = [run for run in runs if run.data.tags["as_of"] <= format_instant(as_of)]
        return sorted(known, key=lambda run: (run.data.tags["as_of"], run.info.start_time))

    def is_finished(self, training_id: str, number: int) -> bool:
        """Say whether the run of a window has finished."""
        return any(int(r.data.tags["window"]) == number for r in self.windows_of(training_id))

    def close_ghosts(self, training_id: str, as_of: datetime) -> int:
        """Close, as KILLED, what trainings up to `as_of` left running when they were killed.

        A newer training has taken their place; one of them that is run again reopens its run.
        """
        ghosts = [
            run
            for run in self._search({}, "attributes.status = 'RUNNING'")
            if run.data.tags.get("kind") == "training"
            and run.data.tags["training_id"] != training_id
            and run.data.tags["as_of"] <= format_instant(as_of)
        ]
        for ghost in ghosts:
            children = self._search({"training_id": ghost.data.tags["training_id"]})
            for run in children:
                if run.info.status == "RUNNING":
                    self.client.set_tag(run.info.run_id, "closed_by", training_id)
                    self.client.set_terminated(run.info.run_id, status="KILLED")
        return len(ghosts)

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log parameters, finite metrics and tags in one call; the same again changes nothing."""
        from mlflow.entities import Metric, Param, RunTag

        stamp = self.client.get_run(run_id).info.start_time
        finite = {k: v for k, v in (metrics or {}).items() if math.isfinite(v)}
        self.client.log_batch(
            run_id,
            metrics=[Metric(k, float(v), stamp, 0) for k, v in finite.items()],
            params=[Param(k, str(v)) for k, v in (params or {}).items()],
            tags=[RunTag(k, v) for k, v in (tags or {}).items()],
        )

    def write_tables(
        self, run_id: str, lake_uri: str, versions: Mapping[str, int], digest: str
    ) -> None:
        """Record the lake tables, with their versions, that a run read as datasets."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        datasets = [
            DatasetInput(
                Dataset(
                    name=table,
                    digest=digest[:12],
                    source_type="delta",
                    source=json.dumps({"uri": f"{lake_uri}/{table}", "version": version}),
                ),
                [InputTag("mlflow.data.context", "training")],
            )
            for table, version in versions.items()
        ]
        self.client.log_inputs(run_id, datasets)

    def finish(self, run_id: str) -> None:
        """Close a run as finished; a finished one is left as it is."""
        if self.client.get_run(run_id).info.status != "FINISHED":
            self.client.set_terminated(run_id, status="FINISHED")

    def _open(self, wanted: Mapping[str, str], name: str, tags: Mapping[str, str]) -> "Run":
        with self.lock(f"mlflow run {sorted(wanted.items())}"):
            run = self._one(wanted)
            if run is None:
                source = {
                    COMMIT_TAG: source_revision(),
                    "mlflow.source.name": "hourglass",
                }
                return self.client.create_run(
                    self.experiment_id, run_name=name, tags={**wanted, **tags, **source}
                )
            if run.info.status in ("KILLED", "FAILED"):
                self.client.update_run(run.info.run_id, status="RUNNING")
            return self.client.get_run(run.info.run_id)

    def _one(self, tags: Mapping[str, str]) -> "Run | None":
        return next(iter(self._search(tags)), None)

    def _search(
        self, tags: Mapping[str, str], condition: str = "", *, view: int = _ACTIVE_ONLY
    ) -> list["Run"]:
        clauses = [*(f"tags.{k} = '{v}'" for k, v in tags.items()), condition]
        runs: list[Run] = []
        token: str | None = ""
        while token is not None:
            page = self.client.search_runs(
                [self.experiment_id],
                " and ".join(clause for clause in clauses if clause),
                run_view_type=view,
                max_results=_MOST,
                order_by=["attributes.start_time ASC"],
                page_token=token or None,
            )
            runs += page
            token = page.token or None
        return runs


def _quieten() -> None:
    """Keep MLflow and what it starts off stdout, and from asking the network for anything."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "git"):
        logging.getLogger(name).setLevel(logging.WARNING)
