"""The files beside a run: JSON, text, frames, pictures; nothing pickled, and no full disk unexplained."""

import json
import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.errors import SourceUnavailable, is_of_disk

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient


class Artifacts(ABC):
    """Files of runs.

    Parameters
    ----------
    where : str
        Address of the artifacts, for people.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    @property
    @abstractmethod
    def client(self) -> "MlflowClient":
        """The MLflow client."""

    def write_json(self, run_id: str, name: str, tree: Any) -> None:
        """Write a JSON artifact; SourceUnavailable if the disk is full."""
        text = json.dumps(plain_json(tree), indent=1, sort_keys=True) + "\n"
        self.write_text(run_id, name, text)

    def read_json(self, run_id: str, name: str) -> Any:
        """Read a JSON artifact that `write_json` wrote."""
        return json.loads(self.read_text(run_id, name))

    def write_frame(self, run_id: str, name: str, frame: pl.DataFrame) -> None:
        """Write a frame as a Parquet artifact."""
        with self.writing(name), tempfile.TemporaryDirectory() as folder:
            within, _, file = name.rpartition("/")
            path = Path(folder) / file
            frame.write_parquet(path)
            self.client.log_artifact(run_id, str(path), within or None)

    def read_frame(self, run_id: str, name: str) -> pl.DataFrame:
        """Read a frame that `write_frame` wrote."""
        with tempfile.TemporaryDirectory() as folder:
            return pl.read_parquet(self.client.download_artifacts(run_id, name, folder))

    def write_text(self, run_id: str, name: str, text: str) -> None:
        """Write a text artifact; SourceUnavailable if the disk is full."""
        with self.writing(name):
            self.client.log_text(run_id, text, name)

    def read_text(self, run_id: str, name: str) -> str:
        """Read a text artifact."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.client.download_artifacts(run_id, name, folder)
            return Path(path).read_text(encoding="utf-8")

    def write_figure(self, run_id: str, name: str, figure: "Figure") -> None:
        """Write a plot as PNG and free it; SourceUnavailable if the disk is full."""
        with self.writing(name):
            self.client.log_figure(run_id, figure, name)
        figure.clear()

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Say of a disk that is full or may not be written which artifact was not, and where.

        Raises
        ------
        SourceUnavailable
            Instead of the system's error. Nothing after it was written; what marks a step as done comes
            last, so a step that is run again goes on.
        """
        try:
            yield
        except OSError as error:
            if not is_of_disk(error):
                raise
            raise SourceUnavailable(
                f"cannot write {name} to the artifacts at {self._where}: "
                f"{error.strerror}; the training stopped there and nothing was registered",
                remedy="free space or mend the folder's permissions, then run the same command again",
            ) from error


def plain_json(tree: Any) -> Any:
    """Return `tree` with what JSON cannot say (NaN, infinity) as null, for artifacts and reports."""
    if isinstance(tree, Mapping):
        return {key: plain_json(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain_json(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
