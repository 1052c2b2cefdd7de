"""A training of the past, done again in memory: from the same versions, seeds and configuration.

Nothing is written but temporary files. What is done again: the data are read at the versions that the
run names, the best trial of its search is evaluated, every test window is fitted and scored, and
the final model is fitted. The search itself is not repeated: its trials are a function of seed and values,
and the value of the best one is checked.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evaluation.forecast import forecast_metrics
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.settings import Settings
from pipelines.steps.search import search_objective
from pipelines.tables import KEY, OUT_OF_FOLD_SCORES
from pipelines.tracking.environment import ENVIRONMENT_FILE, differences, environment
from pipelines.tracking.fits import fit_final, fit_window
from pipelines.tracking.plan import (
    CHOSEN_FILE,
    Inputs,
    TrainingPlan,
    feature_set_of,
    load_plan,
    read_panel,
)
from pipelines.tracking.revision import source_revision
from pipelines.tracking.runs import COMMIT_TAG
from serving.config import CostConfig, RiskConfig
from training.panel import Panel
from training.walk_forward import Window

if TYPE_CHECKING:
    from mlflow.entities import Run

Progress = Callable[[int, int, str], None]

_SCORES = ("p_down", "p_flat", "p_up", "expected_return", "lower", "upper")
_WINDOW = ("log_loss", "directional_accuracy", "total_return", "sharpe")


@dataclass(frozen=True)
class Reproduction:
    """What a training gave then and gives now.

    Attributes
    ----------
    run_id, training_id, as_of : str
    rows : list of dict
        `what`, `then`, `now` and whether they are `equal`, to the last bit.
    differs : list of str
        What of code, libraries, machine and features is not as it was.
    """

    run_id: str
    training_id: str
    as_of: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """True if every number is equal."""
        return all(row["equal"] for row in self.rows)

    def compare(self, what: str, then: Any, now: Any) -> None:
        """Note one number that was and is."""
        self.rows.append({"what": what, "then": then, "now": now, "equal": then == now})

    def as_json(self) -> dict[str, Any]:
        """Return the answer as plain JSON types."""
        return {**self.__dict__, "equal": self.equal}


def reproduce(context: Context, run_id: str, progress: Progress | None = None) -> Reproduction:
    """Train again what a run logged, and compare.

    Parameters
    ----------
    context : Context
    run_id : str
        MLflow run of a training, or of one of its windows.
    progress : callable, optional
        Told (done, total, text).

    Raises
    ------
    ConfigError
        If there is no such run, or it is not of a training.
    ContractViolation
        If the training did not come to an end, or a table version that it read is gone.
    """
    run, plan = _logged(context, run_id)
    settings = _as_it_was(context.settings, context.registry.tracking.read_json, run, plan)
    found = Reproduction(run.info.run_id, plan.training_id, format_instant(plan.as_of))
    found.differs.extend(_differences(context, run, plan))
    total = len(plan.windows) + 3

    def tell(done: int, text: str) -> None:
        if progress:
            progress(done, total, text)

    with Context(settings, databases=context.databases) as past:
        tell(0, "reading")
        inputs, panel = _read(past, plan)
        found.compare("data", plan.data_hash[:12], inputs.digest()[:12])
        tell(1, "the best trial")
        _compare_trial(past, run, plan, found)
        for window in plan.windows:
            tell(2 + window.number, f"window {window.number}")
            _compare_window(past, plan, inputs, panel, window, found)
        tell(total - 1, "the final fit")
        _compare_final(past, panel, plan, found)
        tell(total, "done")
    return found


def _logged(context: Context, run_id: str) -> "tuple[Run, TrainingPlan]":
    from mlflow.exceptions import MlflowException

    tracking = context.registry.tracking
    remedy = "take the id from a training's page in MLflow, or from `hourglass train --json`"
    try:
        training_id = tracking.client.get_run(run_id).data.tags.get("training_id")
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(f"MLflow has no run {run_id!r}", remedy=remedy) from None
    if training_id is None:
        raise ConfigError(f"run {run_id} is not one of a training", remedy=remedy)
    run, plan = load_plan(context, training_id)
    if run.info.status != "FINISHED":
        raise ContractViolation(
            f"training {training_id} has not come to its end: its run is {run.info.status}",
            remedy="train again with the same settings and instant; it goes on where it stopped",
        )
    return run, plan


def _as_it_was(
    settings: Settings, read_json: Callable[[str, str], Any], run: "Run", plan: TrainingPlan
) -> Settings:
    """Return today's addresses with the configuration of the training."""
    tree = read_json(run.info.run_id, "settings.json")
    return settings.model_copy(
        update={
            **{name: tree[name] for name in ("venue", "timeframe")},
            "universe": tuple(tree["universe"]),
            "costs": CostConfig.model_validate(tree["costs"]),
            "risk": RiskConfig.model_validate(tree["risk"]),
            "books": settings.books.model_copy(update={"initial_cash": tree["initial_cash"]}),
            "training": plan.training,
        }
    )


def _differences(context: Context, run: "Run", plan: TrainingPlan) -> list[str]:
    then = {"source": run.data.tags[COMMIT_TAG], "feature set of the table": plan.feature_set}
    now = {"source": source_revision(), "feature set of the table": feature_set_of(context)}
    then |= context.registry.tracking.read_json(run.info.run_id, ENVIRONMENT_FILE)
    return differences(then, {**now, **environment()})


def _read(past: Context, plan: TrainingPlan) -> tuple[Inputs, Panel]:
    try:
        return read_panel(past, plan)
    except (ConfigError, ContractViolation) as error:
        versions = ", ".join(f"{table} {number}" for table, number in plan.versions.items())
        days = past.settings.lake.retention_days
        raise ContractViolation(
            f"training {plan.training_id} read {versions}, which cannot be read any more: "
            f"{error.message}",
            remedy=f"versions are kept for {days:g} days (lake.retention_days); restore a copy of the lake",
        ) from None


def _compare_trial(past: Context, run: "Run", plan: TrainingPlan, found: Reproduction) -> None:
    from optuna.trial import FixedTrial

    tracking = past.registry.tracking
    chosen = tracking.read_json(run.info.run_id, CHOSEN_FILE)
    trials = tracking.read_json(run.info.run_id, "search/trials.json")
    (best,) = (trial for trial in trials if trial["trial"] == chosen["trial"])
    objective, _ = search_objective(past, plan)
    value = objective(FixedTrial(best["params"]))
    found.compare("value of the best trial", chosen["value"], value)


def _compare_window(
    past: Context,
    plan: TrainingPlan,
    inputs: Inputs,
    panel: Panel,
    window: Window,
    found: Reproduction,
) -> None:
    fitted, now = fit_window(panel, plan, window)
    held = past.lake.read(OUT_OF_FOLD_SCORES.name, start=window.test_start, end=window.test_end)
    mine = (pl.col("training_id") == plan.training_id) & (pl.col("window") == window.number)
    then = held.filter(mine).sort(KEY)
    name = f"window {window.number}"
    found.compare(f"{name}: rows", then.height, now.height)
    if then.height == now.height:
        was, is_now = (frame.select(_SCORES).to_numpy() for frame in (then, now.sort(KEY)))
        apart = np.where(np.isnan(was) & np.isnan(is_now), 0.0, np.abs(was - is_now))
        found.compare(f"{name}: largest difference of a score", 0.0, float(apart.max()))
    logged = next(
        run.data.metrics
        for run in past.registry.tracking.windows_of(plan.training_id)
        if run.data.tags["window"] == str(window.number)
    )
    outcomes = panel.outcomes(panel.rows_between(window.test_start, window.test_end))
    metrics = {
        **forecast_metrics(now.join(outcomes, on=KEY, how="left"), fitted.class_shares),
        **inputs.between(window.test_start, window.test_end).trade(past.settings, now).metrics,
    }
    for metric in _WINDOW:
        if metric in logged:
            found.compare(f"{name}: {metric}", logged[metric], metrics[metric])


def _compare_final(past: Context, panel: Panel, plan: TrainingPlan, found: Reproduction) -> None:
    model = past.registry.model_of(plan.training_id)
    then = "no model" if model is None else str(model.tags["scorer_hash"])[:12]
    with tempfile.TemporaryDirectory() as folder:
        now = fit_final(panel, plan).scorer.save(Path(folder) / "scorer")
    found.compare("files of the final model", then, now[:12])
