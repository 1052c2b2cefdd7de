"""Plan a training: its identity, its windows and where its search begins."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.clock import format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation
from pipelines.feature_inputs import require_what_books_read
from pipelines.tracking.environment import ENVIRONMENT_FILE, environment
from pipelines.tracking.plan import (
    PLAN_FILE,
    Inputs,
    TrainingPlan,
    configuration,
    current_versions,
    feature_set_of,
    is_planned,
    is_searched,
    read_chosen,
    read_inputs,
    run_of,
    search_end,
    training_id,
)
from training.config import TrainingConfig
from training.models import make_model
from training.walk_forward import Window
from training.walk_forward import plan_windows as outer_windows

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def plan_windows(
    context: Context, as_of: datetime, versions: Mapping[str, int] | None = None
) -> StepReport:
    """Open the run of a training, plan its outer windows and say what its search begins with.

    `detail` names the `training_id` and the numbers of the windows, for the steps that follow.

    Reads: bars, features, of contracts funding (up to `as_of`; at `versions` of the tables, by default
    the newest); of earlier trainings the parameters.
    Writes: the MLflow parent run (plan, settings, environment, datasets), an empty Optuna study.
    Re-run: finds the run by (as_of, configuration, data); a planned training is left as it is. Runs of
    killed trainings are closed.
    """
    settings = context.settings
    space = _searched_space(settings.training)
    pinned = {**current_versions(context), **(versions or {})}
    inputs = read_inputs(context, as_of, pinned, settings.training)
    require_what_books_read(inputs.features)
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
    if run is not None and is_planned(run):
        reopened = tracking.open_training(identity, as_of, {})
        return StepReport("plan_windows", as_of, changed=False, detail=detail | run_of(reopened))
    tags = {"model": settings.training.model, **context.origin}
    run = tracking.open_training(identity, as_of, tags)
    tracking.close_ghosts(identity, as_of)
    plan = TrainingPlan(
        training_id=identity,
        as_of=as_of,
        first=inputs.features["known_at"].min(),  # type: ignore[arg-type]
        feature_set=feature_set,
        data_hash=digest,
        versions=pinned,
        windows=tuple(windows),
        warm_start=_warm_start(context, as_of, windows[0].test_start, space),
        training=settings.training,
    )
    _open_study(context, identity)
    _log_plan(context, run.info.run_id, plan, inputs)
    return StepReport("plan_windows", as_of, changed=True, detail=detail | run_of(run))


def _searched_space(config: TrainingConfig) -> "dict[str, BaseDistribution]":
    """Return what is searched; ConfigError if there is no such model or the grid does not fit it."""
    from pipelines.tracking.proposals import searched_space, within

    try:
        make_model(config, {})
        space = searched_space(config)
    except ValueError as error:
        raise ConfigError(
            str(error),
            remedy="mend training.model, training.members or their parameters; "
            "`hourglass models` lists what there is",
        ) from None
    for name, values in config.search.grid.items():
        wrong = [value for value in values if not within(space, name, value)]
        if wrong:
            allowed = f"it is searched in {space[name]}" if name in space else "it is not searched"
            raise ConfigError(
                f"search.grid.{name}: {', '.join(map(str, wrong))} cannot be tried by "
                f"{config.model}: {allowed}",
                remedy=f"choose values of {', '.join(space)} inside their ranges",
            )
    return space


def _warm_start(
    context: Context, as_of: datetime, untouched: datetime, space: "dict[str, BaseDistribution]"
) -> dict[str, Any] | None:
    """Return parameters of the champion of that time, else of the newest training before it.

    Only of the same model, and only of trainings as of an earlier instant: a later one knows more.
    Nor of one whose search looked at anything after `untouched`, where the new windows begin: its
    parameters would be told of them, and of a hold-out behind them.
    """
    from pipelines.tracking.proposals import within

    training = context.settings.training
    if not training.search.warm_start:
        return None
    earlier = [
        info
        for info in context.registry.versions()
        if info.as_of < as_of and info.tags.get("model") == training.model
    ]
    champion = context.ledger.champion_at(as_of) if earlier else None
    earlier.sort(key=lambda info: (info.version == champion, info.as_of, int(info.version)))
    for found in reversed(earlier):
        run = context.registry.tracking.run_of(found.training_id)
        if run is None or not is_searched(run) or search_end(context, run) > untouched:
            continue
        chosen = read_chosen(context, run)["params"]
        params = {name: value for name, value in chosen.items() if within(space, name, value)}
        return {"version": found.version, "training_id": found.training_id, "params": params}
    return None


def _open_study(context: Context, identity: str) -> None:
    from pipelines.tracking.study import Study

    # Here, once, so that workers who start together find its tables.
    Study(context.databases.optuna, identity).close()


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


def _log_plan(context: Context, run_id: str, plan: TrainingPlan, inputs: Inputs) -> None:
    tracking = context.registry.tracking
    training = plan.training
    tracking.write_json(run_id, "settings.json", configuration(context.settings))
    tracking.write_json(run_id, ENVIRONMENT_FILE, environment())
    tracking.write_json(run_id, PLAN_FILE, plan.as_json())
    tracking.write_tables(run_id, context.lake.uri, plan.versions, plan.data_hash)
    warm = {} if plan.warm_start is None else {"warm_start": plan.warm_start["version"]}
    tracking.log(
        run_id,
        params={
            **{f"label.{k}": v for k, v in training.label.model_dump().items()},
            **{f"split.{k}": v for k, v in training.split.model_dump().items()},
            "model": training.model,
            "calibration": training.calibration,
            "objective": training.search.objective,
            "pruner": training.search.pruner,
            "seed": training.search.seed,
            "sample_every_bars": training.sample_every_bars,
            "features": inputs.features.width - 3,
            "symbols": inputs.features["symbol"].n_unique(),
            **warm,
        },
        metrics={"history_days": (plan.as_of - plan.first) / timedelta(days=1)},
        tags={
            "planned": "true",
            "feature_set": plan.feature_set,
            "data_hash": plan.data_hash,
            **{f"version.{table}": str(version) for table, version in plan.versions.items()},
        },
    )
