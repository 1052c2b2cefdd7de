"""Plan a training: its identity, its windows and its hyper-parameters."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.clock import format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation
from pipelines.tracking.plan import (
    PLAN_FILE,
    Inputs,
    TrainingPlan,
    configuration,
    current_versions,
    feature_set_of,
    read_inputs,
    run_of,
    training_id,
)
from pipelines.tracking.search import Progress, SearchResult, run_search
from training.models import model_class
from training.models.protocol import Trial
from training.panel import Panel
from training.splits import SplitAudit
from training.tuning import Earn, Rows, engine_earnings, evaluate_trial, search_folds
from training.walk_forward import Window
from training.walk_forward import plan_windows as outer_windows


def plan_windows(
    context: Context,
    as_of: datetime,
    versions: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> StepReport:
    """Open the run of a training, plan its outer windows and search its hyper-parameters.

    The search sees the inner folds of the oldest training span only; the outer test windows stay
    untouched. `detail` names the `training_id` and the numbers of the windows, for `run_window`.

    Reads: bars, features, of contracts funding (up to `as_of`; at `versions` of the tables, by default the newest).
    Writes: the MLflow parent run (plan, search, settings, datasets), the Optuna study.
    Re-run: finds the run by (as_of, configuration, data) and goes on where it stopped: finished
    trials count, a planned training is left as it is. Runs of killed trainings are closed.
    """
    settings = context.settings
    _check_model(settings.training.model)
    pinned = {**current_versions(context), **(versions or {})}
    inputs = read_inputs(context, as_of, pinned, settings.training)
    feature_set = feature_set_of(context)
    digest = inputs.digest()
    identity = training_id(settings, as_of, feature_set, digest)
    tracking = context.registry.tracking
    windows = _windows(context, as_of, inputs)
    detail: dict[str, Any] = {
        "training_id": identity,
        "windows": [window.number for window in windows],
    }
    run = tracking.run_of(identity)
    if run is not None and "planned" in run.data.tags:
        reopened = tracking.open_training(identity, as_of, {})
        return StepReport("plan_windows", as_of, changed=False, detail=detail | run_of(reopened))
    run = tracking.open_training(identity, as_of, {"model": settings.training.model})
    tracking.close_ghosts(identity, as_of)
    result, audits = _search(context, as_of, identity, inputs, windows[0], progress)
    plan = TrainingPlan(
        training_id=identity,
        as_of=as_of,
        first=inputs.features["known_at"].min(),  # type: ignore[arg-type]
        feature_set=feature_set,
        data_hash=digest,
        versions=pinned,
        windows=tuple(windows),
        params={**result.params, **settings.training.model_params},
        search_overlaps=sum(audit.overlaps for audit in audits),
        training=settings.training,
    )
    _log_plan(context, run.info.run_id, plan, result, audits, inputs)
    detail |= {**run_of(run), "trials": len(result.trials), "best_value": result.value}
    return StepReport("plan_windows", as_of, changed=True, detail=detail)


def _check_model(name: str) -> None:
    try:
        model_class(name)
    except ValueError as error:
        raise ConfigError(str(error), remedy="set training.model to one of them") from None


def _windows(context: Context, as_of: datetime, inputs: Inputs) -> list[Window]:
    settings = context.settings
    try:
        return outer_windows(
            as_of,
            inputs.features["known_at"].min(),  # type: ignore[arg-type]
            settings.training,
            timeframe=timeframe_delta(settings.timeframe),
        )
    except ValueError as error:
        raise ContractViolation(
            f"training as of {format_instant(as_of)}: {error}; nothing was trained",
            remedy="backfill more and build its features, or set training.split.windows or "
            "training.split.test_days lower",
        ) from None


def _search(
    context: Context,
    as_of: datetime,
    identity: str,
    inputs: Inputs,
    oldest: Window,
    progress: Progress | None,
) -> tuple[SearchResult, list[SplitAudit]]:
    settings = context.settings
    config = settings.training
    seen = inputs.between(datetime.min.replace(tzinfo=as_of.tzinfo), oldest.test_start)
    step = timeframe_delta(settings.timeframe)
    panel = seen.panel(config.label, step, oldest.test_start)
    rows = panel.training_rows(oldest.train_start, oldest.test_start)
    try:
        folds, audits = search_folds(
            panel, rows, config, lambda test: _engine(context, seen, panel, test)
        )
    except ValueError as error:
        raise ContractViolation(
            f"search: {error}; nothing was trained",
            remedy="backfill more, or mend the key of training.* it names",
        ) from None

    def objective(trial: Trial) -> float:
        return evaluate_trial(trial, panel, folds, config)

    url = context.databases.optuna
    return run_search(url, identity, config.search, objective, progress=progress), audits


def _engine(context: Context, inputs: Inputs, panel: Panel, test: Rows) -> Earn:
    keys = panel.keys[test]
    settings = context.settings
    step = timeframe_delta(settings.timeframe)
    fold = inputs.between(keys["known_at"].min() - step, keys["known_at"].max())  # type: ignore[operator, arg-type]
    return engine_earnings(
        fold.bars,
        fold.features,
        keys,
        settings.training.label.horizon_bars,
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=step,
        funding=fold.funding,
    )


def _log_plan(
    context: Context,
    run_id: str,
    plan: TrainingPlan,
    result: SearchResult,
    audits: list[SplitAudit],
    inputs: Inputs,
) -> None:
    tracking = context.registry.tracking
    settings = context.settings
    tracking.write_json(run_id, "settings.json", configuration(settings))
    tracking.write_json(run_id, "search/trials.json", result.trials)
    tracking.write_json(run_id, "search/split_audit.json", [audit.as_json() for audit in audits])
    tracking.write_json(run_id, PLAN_FILE, plan.as_json())
    tracking.write_tables(run_id, context.lake.uri, plan.versions, plan.data_hash)
    label, split = settings.training.label, settings.training.split
    tracking.log(
        run_id,
        params={
            **{f"model.{k}": v for k, v in plan.params.items()},
            **{f"label.{k}": v for k, v in label.model_dump().items()},
            **{f"split.{k}": v for k, v in split.model_dump().items()},
            "model": settings.training.model,
            "calibration": settings.training.calibration,
            "objective": settings.training.search.objective,
            "seed": settings.training.search.seed,
            "sample_every_bars": settings.training.sample_every_bars,
            "features": inputs.features.width - 3,
            "symbols": inputs.features["symbol"].n_unique(),
        },
        metrics={
            "search_trials": len(result.trials),
            "search_best_value": result.value,
            "history_days": (plan.as_of - plan.first) / timedelta(days=1),
        },
        tags={
            "planned": "true",
            "feature_set": plan.feature_set,
            "data_hash": plan.data_hash,
            **{f"version.{table}": str(version) for table, version in plan.versions.items()},
        },
    )
