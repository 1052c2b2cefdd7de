"""Work on the search of a training's hyper-parameters."""

from datetime import datetime

from pipelines.clock import timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.tracking.plan import Inputs, TrainingPlan, is_searched, load_unsearched, read_inputs
from pipelines.tracking.proposals import open_places
from pipelines.tracking.search import Objective, Progress, run_search
from pipelines.tracking.study import Study
from training.errors import TooLittleData
from training.models.protocol import Trial
from training.panel import Panel
from training.splits import SplitAudit
from training.tuning import Earn, Rows, engine_earnings, evaluate_trial, search_folds

AUDITS = "split_audit"


def search(
    context: Context,
    as_of: datetime,
    training_id: str,
    worker: int = 0,
    progress: Progress | None = None,
) -> StepReport:
    """Run trials of a planned training until its search is over; several workers share the study.

    The search sees the inner folds of the oldest training span only; the outer test windows stay
    untouched.

    Reads: the plan of the training; bars, features, of contracts funding (at the plan's versions, up to
    the start of the first test window).
    Writes: finished trials and the audits of the folds, in the Optuna study.
    Re-run: finished trials count, and those a killed worker was at are run again, by whoever comes
    first; a finished search is left as it is.
    """
    run, plan = load_unsearched(context, training_id)
    config = plan.training.search
    ran = 0
    with Study(context.databases.optuna, training_id) as study:
        if not is_searched(run) and open_places(study.finished(), config):
            objective, audits = search_objective(context, plan)
            study.write_notes({AUDITS: [audit.as_json() for audit in audits]})
            warm = None if plan.warm_start is None else plan.warm_start["params"]
            ran = run_search(study, config, objective, warm_start=warm, progress=progress)
        trials = len(study.finished())
    detail = {"training_id": training_id, "worker": worker, "ran": ran, "trials": trials}
    return StepReport("search", as_of, changed=ran > 0, detail=detail)


def search_objective(context: Context, plan: TrainingPlan) -> tuple[Objective, list[SplitAudit]]:
    """Return what a trial of a planned training is worth, and the audits of the folds.

    Raises
    ------
    ContractViolation
        If the oldest training span cannot be cut into folds.
    """
    config, oldest = plan.training, plan.windows[0]
    inputs = read_inputs(context, plan.as_of, plan.versions, config)
    seen = inputs.between(datetime.min.replace(tzinfo=plan.as_of.tzinfo), oldest.test_start)
    step = timeframe_delta(context.settings.timeframe)
    panel = seen.panel(config.label, step, oldest.test_start)
    rows = panel.training_rows(oldest.train_start, oldest.test_start)
    try:
        folds, audits = search_folds(
            panel,
            rows,
            config,
            lambda test: _engine(context, config.label.horizon_bars, seen, panel, test),
        )
    except TooLittleData as error:
        raise ContractViolation(
            f"search: {error}; nothing was trained",
            remedy="backfill more, or mend the key of training.* it names",
        ) from error

    def objective(trial: Trial) -> float:
        return evaluate_trial(trial, panel, folds, config)

    return objective, audits


def _engine(context: Context, horizon_bars: int, inputs: Inputs, panel: Panel, test: Rows) -> Earn:
    keys = panel.keys[test]
    settings = context.settings
    step = timeframe_delta(settings.timeframe)
    fold = inputs.between(keys["known_at"].min() - step, keys["known_at"].max())  # type: ignore[operator, arg-type]
    return engine_earnings(
        fold.bars,
        fold.features,
        keys,
        horizon_bars,
        costs=settings.costs,
        risk=settings.risk,
        initial_cash=settings.books.initial_cash,
        timeframe=step,
        funding=fold.funding,
    )
