"""The model registry: MLflow versions, as scorers.

A version is a logged model *from code* whose artifact is a scorer folder, with its hashes as tags.
Loading reads files and nothing else: neither `training` nor MLflow's own loader runs.
"""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import serving
from pipelines.clock import format_instant, parse_instant
from pipelines.database import DatabaseUrls
from pipelines.errors import ContractViolation, SourceUnavailable, policy_error, root_reason
from pipelines.settings import Settings
from pipelines.tracking.runs import Tracking
from serving.observations import Observations
from serving.scorer import Scorer

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
SCORER_PATH = "artifacts/scorer"
CODE = Path(__file__).resolve().parent / "served_model.py"
ALIASES = (CHAMPION, "challenger", "previous")
_MIRRORED = "mirrored_champion"
_MOST = 1000
_NO_SUCH_VERSION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_PINNED = ("mlflow", "numpy", "pandas", "polars", "xgboost-cpu", "xgboost")


@dataclass(frozen=True)
class VersionInfo:
    """What the registry knows of one version."""

    version: str
    training_id: str
    run_id: str
    as_of: datetime
    train_start: datetime
    train_end: datetime
    feature_set: str
    scorer_hash: str
    source: str
    tags: dict[str, str]


class Registry:
    """Versions of the one registered model.

    Parameters
    ----------
    settings : Settings
    databases : DatabaseUrls
    """

    def __init__(self, settings: Settings, databases: DatabaseUrls) -> None:
        self._settings = settings
        self.tracking = Tracking(settings, databases)
        self.name = settings.mlflow.registered_model
        self._scorers: dict[str, Scorer] = {}

    def log_model(
        self,
        run_id: str,
        training_id: str,
        scorer: Scorer,
        *,
        example: npt.NDArray[np.float32],
        tags: Mapping[str, str],
    ) -> str:
        """Log a scorer as the model of a training run and return the model's id.

        Parameters
        ----------
        run_id, training_id : str
            Parent run; a training has one model, found again by `training_id`.
        scorer : Scorer
        example : array of float32, shape (n, k)
            Rows of features for the signature and the input example.
        tags : mapping
            Recorded with the model, and by `register` with its version.
        """
        from mlflow.entities import LoggedModelOutput

        client = self.tracking.client
        with self.tracking.writing("the model"), tempfile.TemporaryDirectory() as folder:
            scorer_hash = scorer.save(Path(folder) / "scorer")
            model = Path(folder) / "model"
            _save_pyfunc(model, Path(folder) / "scorer", scorer, example)
            ready = {
                **tags,
                "training_id": training_id,
                "feature_set": scorer.feature_set,
                "train_start": format_instant(scorer.spec.train_start),
                "train_end": format_instant(scorer.train_end),
                "horizon_bars": str(scorer.horizon_bars),
                "scorer_hash": scorer_hash,
            }
            for ghost in self._models(training_id):
                client.delete_logged_model(ghost.model_id)
            logged = client.create_logged_model(
                self.tracking.experiment_id,
                name=f"challenger-{training_id}",
                source_run_id=run_id,
                tags=ready,
                model_type=scorer.spec.predictor,
            )
            client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return str(logged.model_id)

    def model_of(self, training_id: str) -> "LoggedModel | None":
        """Return the completely logged model of a training, or None."""
        ready = [m for m in self._models(training_id) if str(m.status) == "READY"]
        return ready[0] if ready else None

    def register(self, training_id: str, tags: Mapping[str, str], card: str) -> str:
        """Make the training's model a version, once and whole, with tags and card; return the version.

        Raises
        ------
        ContractViolation
            If the training has no complete model.
        """
        client = self.tracking.client
        with self.tracking.lock(f"mlflow registry {self.name}"):
            if standing := self.version_of(training_id):
                return standing
            model = self.model_of(training_id)
            if model is None:
                raise ContractViolation(
                    f"training {training_id} has no complete model; nothing was registered",
                    remedy="run fit-challenger for it, or train again",
                )
            if not client.search_registered_models(f"name = '{self.name}'"):
                client.create_registered_model(self.name)
            made = client.create_model_version(
                self.name,
                source=f"models:/{model.model_id}",
                run_id=model.source_run_id,
                model_id=model.model_id,
                tags={**_own(model.tags), **tags},
                description=card,
            )
            return str(made.version)

    def version_of(self, training_id: str) -> str | None:
        """Return the version that a training was registered as, or None."""
        found = self._search(f"name = '{self.name}' and tags.training_id = '{training_id}'")
        return str(min(int(v.version) for v in found)) if found else None

    def versions(self) -> list[VersionInfo]:
        """Return all versions, oldest first."""
        found = self._search(f"name = '{self.name}'")
        return sorted((_info(v) for v in found), key=lambda info: int(info.version))

    def version_info(self, version: str) -> VersionInfo:
        """Return what is known of a version.

        Raises
        ------
        ContractViolation
            If the registry has no such version.
        SourceUnavailable
            If MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            return _info(self.tracking.client.get_model_version(self.name, version))
        except MlflowException as error:
            if error.error_code not in _NO_SUCH_VERSION:
                raise SourceUnavailable(
                    f"MLflow does not answer: {root_reason(error)}",
                    remedy="`hourglass doctor` says what is down",
                ) from error
            raise ContractViolation(
                f"model {self.name} has no version {version}",
                remedy="`hourglass status` lists the versions that books trade",
            ) from error

    def has(self, version: str) -> bool:
        """Say whether the registry has a version; SourceUnavailable if MLflow does not answer."""
        try:
            self.version_info(version)
        except ContractViolation:
            return False
        return True

    def load(self, version: str) -> Scorer:
        """Return the scorer of a version; read once, then kept.

        Raises
        ------
        ContractViolation
            If the version does not exist or its files are not the ones that were registered.
        """
        if version not in self._scorers:
            info, client = self.version_info(version), self.tracking.client
            uri = client.get_model_version_download_uri(self.name, version)
            self._scorers[version] = self._read(uri, info.scorer_hash, f"model version {version}")
        return self._scorers[version]

    def scorer_of(self, training_id: str) -> Scorer:
        """Return the scorer that a training logged, registered or not.

        Raises
        ------
        ContractViolation
            If the training has no complete model or its files are not the ones that were logged.
        """
        model = self.model_of(training_id)
        if model is None:
            raise ContractViolation(
                f"training {training_id} has no complete model",
                remedy="run fit-challenger for it, or train again",
            )
        name = f"the model of training {training_id}"
        return self._read(str(model.artifact_location), model.tags["scorer_hash"], name)

    def mirror(
        self,
        *,
        champion: str | None,
        challengers: Sequence[str] = (),
        previous: str | None = None,
        shadows: Sequence[str] = (),
        restore: bool = False,
    ) -> bool:
        """Make the aliases and the `role` tags say what the ledger says; False if they already do.

        The alias `challenger` is the newest of `challengers`; all of them carry the role, as
        `shadows` carry theirs. The alias `champion` is left where a person has moved it, unless `restore`. A version that was deleted
        has no alias.
        """
        client = self.tracking.client
        versions = self.versions()
        known = {info.version for info in versions}
        named = _targets(champion, challengers, previous)
        wanted = {alias: version if version in known else None for alias, version in named.items()}
        standing, mirrored = self._aliases()
        if not restore and _is_moved(standing.get(CHAMPION), champion, mirrored):
            wanted[CHAMPION] = standing[CHAMPION]
        for alias, target in wanted.items():
            if target is None and alias in standing:
                client.delete_registered_model_alias(self.name, alias)
            elif target is not None and standing.get(alias) != target:
                client.set_registered_model_alias(self.name, alias, target)
        # Written after the alias: what stands otherwise was then moved by somebody else.
        if champion is not None and wanted[CHAMPION] == champion != mirrored:
            client.set_registered_model_tag(self.name, _MIRRORED, champion)
        roles = dict.fromkeys(shadows, "shadow") | dict.fromkeys(challengers, "challenger")
        roles |= {v: role for role, v in (("previous", previous), ("champion", champion)) if v}
        changed = {a: t for a, t in wanted.items() if t} != standing
        for info in versions:
            role = roles.get(info.version, "retired")
            if info.tags.get("role") != role:
                client.set_model_version_tag(self.name, info.version, "role", role)
                changed = True
        return changed

    def champion_alias(self, champion: str) -> tuple[str | None, bool]:
        """Return the version that the alias `champion` names, and whether a person moved it there.

        Nobody did where it names the ledger's champion, or, lagging behind after a kill, the one that was
        mirrored last.
        """
        standing, mirrored = self._aliases()
        target = standing.get(CHAMPION)
        return target, _is_moved(target, champion, mirrored)

    def astray(self, *, challengers: Sequence[str], previous: str | None) -> list[str]:
        """Return which of the aliases `challenger` and `previous` do not name whom they should; see `mirror`."""
        standing, _ = self._aliases()
        wanted = _targets(standing.get(CHAMPION), challengers, previous)
        strays = [alias for alias, version in wanted.items() if standing.get(alias) != version]
        # A version that was deleted has no alias, and should have none.
        return [a for a in strays if a in standing or self.has(str(wanted[a]))]

    def close(self) -> None:
        """Forget loaded scorers."""
        self._scorers.clear()

    def _aliases(self) -> tuple[dict[str, str], str | None]:
        """Return the aliases, and the champion that was mirrored last."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.tracking.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}, None
        standing = {a: str(found.aliases[a]) for a in ALIASES if a in found.aliases}
        return standing, found.tags.get(_MIRRORED)

    def _read(self, uri: str, scorer_hash: str, name: str) -> Scorer:
        folder = self._folder(f"{uri.removeprefix('file://')}/{SCORER_PATH}", scorer_hash, name)
        try:
            return Scorer.load(folder, expected_hash=scorer_hash)
        except ValueError as error:
            raise ContractViolation(
                f"{name} was refused: {error}",
                remedy="restore its artifacts, or train again and promote another version",
            ) from error

    def _folder(self, uri: str, scorer_hash: str, name: str) -> Path:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        if Path(uri).is_dir():
            return Path(uri)
        folder = self._settings.home / "cache" / "scorers" / scorer_hash
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
                try:
                    arrived = download_artifacts(artifact_uri=uri, dst_path=partial)
                except (OSError, MlflowException) as error:
                    if (refusal := policy_error(error)) is not None:
                        raise refusal from error
                    raise ContractViolation(
                        f"the files of {name} are not at {uri}",
                        remedy="restore the artifacts, or train again",
                    ) from error
                with suppress(OSError):  # another process brought the same files first
                    Path(arrived).rename(folder)
        return folder

    def _models(self, training_id: str) -> list["LoggedModel"]:
        return list(
            self.tracking.client.search_logged_models(
                [self.tracking.experiment_id], f"tags.training_id = '{training_id}'"
            )
        )

    def _search(self, condition: str) -> list["ModelVersion"]:
        return list(self.tracking.client.search_model_versions(condition, max_results=_MOST))


def _info(found: "ModelVersion") -> VersionInfo:
    tags = dict(found.tags)
    return VersionInfo(
        version=str(found.version),
        training_id=tags["training_id"],
        run_id=str(found.run_id),
        as_of=parse_instant(tags["as_of"]),
        train_start=parse_instant(tags["train_start"]),
        train_end=parse_instant(tags["train_end"]),
        feature_set=tags["feature_set"],
        scorer_hash=tags["scorer_hash"],
        source=str(found.source),
        tags=tags,
    )


def _targets(
    champion: str | None, challengers: Sequence[str], previous: str | None
) -> dict[str, str | None]:
    """Return whom each alias should name, whether the registry still has them or not."""
    newest = max(challengers, key=int, default=None)
    return dict(zip(ALIASES, (champion, newest, previous), strict=True))


def _is_moved(target: str | None, champion: str | None, mirrored: str | None) -> bool:
    return target is not None and target != champion and mirrored not in (None, target)


def _own(tags: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in tags.items() if not k.startswith("mlflow.")}


def _save_pyfunc(
    path: Path, scorer_folder: Path, scorer: Scorer, example: npt.NDArray[np.float32]
) -> None:
    import pandas as pd

    columns = scorer.score(Observations.alone(example))
    with warnings.catch_warnings():
        # On import MLflow warns of its own type hints; on saving, of how it reads pandas frames.
        warnings.simplefilter("ignore")
        from mlflow.models import ModelSignature
        from mlflow.pyfunc import save_model
        from mlflow.types import ColSpec, Schema

        outputs = {n: "long" if n == "horizon_bars" else "double" for n in columns}
        save_model(
            path,
            python_model=str(CODE),
            artifacts={"scorer": str(scorer_folder)},
            code_paths=[str(Path(serving.__file__).resolve().parent)],
            signature=ModelSignature(
                inputs=Schema([ColSpec("float", name) for name in scorer.feature_names]),
                outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
            ),
            input_example=pd.DataFrame(example, columns=list(scorer.feature_names)),
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    pins = []
    for name in _PINNED:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins
