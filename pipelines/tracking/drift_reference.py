"""The drift reference of a model: an artifact of its training run, sealed by a hash among its tags."""

import hashlib
import json
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from evaluation.drift.reference import (
    Predictions,
    Reference,
    build_reference,
    from_arrays,
    to_arrays,
)
from evaluation.forecast import PROBABILITIES
from pipelines.clock import timeframe_delta
from pipelines.context import Context
from pipelines.errors import ContractViolation, SourceUnavailable, policy_error
from pipelines.tables import KEY
from pipelines.tracking.plan import TrainingPlan
from pipelines.tracking.registry import VersionInfo
from serving.compiled import Counts
from serving.scorer import Scorer
from training.panel import Panel

REFERENCE_FILE = "drift/reference.safetensors"
HASH_TAG = "drift_reference"
_MICROSECOND = timedelta(microseconds=1)


def log_drift_reference(
    context: Context, run_id: str, plan: TrainingPlan, panel: Panel, scorer: Scorer
) -> dict[str, str]:
    """Learn and log the reference of a training's final fit; return the tag that seals it."""
    from safetensors.numpy import save

    spec = scorer.spec
    rows = panel.rows_between(spec.train_start, spec.train_end)
    rows = rows[np.argsort(panel.known_at[rows], kind="stable")]
    step = panel.timeframe
    reference = build_reference(
        panel.feature_names,
        panel.X[rows],
        panel.known_at[rows] // (step // _MICROSECOND),
        _out_of_fold(context, plan, panel),
        window_bars=max(round(timedelta(hours=context.settings.drift.window_hours) / step), 1),
        bars_per_day=max(timedelta(days=1) // step, 1),
    )
    arrays, about = to_arrays(reference)
    content = save(arrays, {"about": json.dumps(about, sort_keys=True)})
    tracking = context.registry.tracking
    with tracking.writing(REFERENCE_FILE), tempfile.TemporaryDirectory() as folder:
        within, _, name = REFERENCE_FILE.rpartition("/")
        path = Path(folder) / name
        path.write_bytes(content)
        tracking.client.log_artifact(run_id, str(path), within)
    return {HASH_TAG: hashlib.sha256(content).hexdigest()}


def read_drift_reference(context: Context, info: VersionInfo) -> Reference:
    """Return the reference of a model version.

    Raises
    ------
    ContractViolation
        If it has none, or its file is missing, damaged or another than was logged.
    SourceUnavailable
        If MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    name = f"the drift reference of model version {info.version}"
    remedy = "train again; the next model brings its own"
    if HASH_TAG not in info.tags:
        raise ContractViolation(f"{name} was never logged", remedy=remedy)
    with tempfile.TemporaryDirectory() as folder:
        try:
            client = context.registry.tracking.client
            path = Path(client.download_artifacts(info.run_id, REFERENCE_FILE, folder))
            content = path.read_bytes()
        except (OSError, MlflowException) as error:
            if isinstance(policy := policy_error(error), SourceUnavailable):
                raise policy from error
            raise ContractViolation(f"{name} is not among its artifacts", remedy=remedy) from error
        found, logged = hashlib.sha256(content).hexdigest(), info.tags[HASH_TAG]
        if found != logged:
            raise ContractViolation(
                f"{name} has hash {found[:12]}, logged was {logged[:12]}", remedy=remedy
            )
        return _read(path, name, remedy)


def _read(path: Path, name: str, remedy: str) -> Reference:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            return from_arrays({key: file.get_tensor(key) for key in file.keys()}, about)  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ContractViolation(f"{name} was refused: {error}", remedy=remedy) from error


def _out_of_fold(context: Context, plan: TrainingPlan, panel: Panel) -> Predictions:
    scores = context.lake.read(
        "out_of_fold_scores", start=plan.windows[0].test_start, end=plan.windows[-1].test_end
    ).filter(pl.col("training_id") == plan.training_id)
    outcomes = panel.outcomes(np.arange(len(panel.known_at)))
    return predictions_of(
        scores.join(outcomes, on=KEY, how="left"), timeframe_delta(context.settings.timeframe)
    )


def predictions_of(scored: pl.DataFrame, step: timedelta) -> Predictions:
    """Return scores with their `outcome` (null if not known) as arrays, in order of time."""
    scored = scored.sort("known_at", "symbol")
    return Predictions(
        proba=scored.select(PROBABILITIES).to_numpy(),
        expected_return=scored["expected_return"].to_numpy(),
        outcome=scored["outcome"].cast(pl.Int64).fill_null(-1).to_numpy(),
        bar=bars_of(scored, step),
    )


def bars_of(frame: pl.DataFrame, step: timedelta) -> Counts:
    """Return the number of each row's bar since the epoch."""
    bars: Counts = (frame["known_at"].dt.timestamp("us") // (step // _MICROSECOND)).to_numpy()
    return bars
