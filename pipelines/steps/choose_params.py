"""Choose a training's hyper-parameters once its search is over."""

from datetime import datetime
from typing import Any

from evaluation.evidence import trial_moments
from pipelines.context import Context, StepReport
from pipelines.steps.search import AUDITS
from pipelines.tracking.plan import CHOSEN_FILE, is_searched, load_unsearched, run_of
from pipelines.tracking.search import SearchResult, daily_returns, result_of
from pipelines.tracking.study import Study
from pipelines.tracking.trials import RETURNS_FILE, TRIALS, moments_as_metrics, trials_as_frame
from training.tuning import Floats


def choose_params(context: Context, as_of: datetime, training_id: str) -> StepReport:
    """Take the best trial's parameters for the windows and the final fit; of equal ones the first.

    `detail` names the numbers of the windows, for `run_window`.

    Reads: the plan of the training, its Optuna study.
    Writes: the parameters, the table of trials, their daily returns and the audits of the search on
    the parent run.
    Re-run: a training whose parameters were chosen is left as it is.
    """
    run, plan = load_unsearched(context, training_id)
    detail: dict[str, Any] = {
        "training_id": training_id,
        "windows": [window.number for window in plan.windows],
        **run_of(run),
    }
    if is_searched(run):
        return StepReport("choose_params", as_of, changed=False, detail=detail)
    with Study(context.databases.optuna, training_id) as study:
        result = result_of(study, plan.training.search)
        audits = study.notes()[AUDITS]
        daily = daily_returns(study)
    params = {**result.params, **plan.training.model_params}
    _log(context, run.info.run_id, params, result, daily, audits)
    detail |= {"trials": len(result.trials), "best_value": result.value, "params": params}
    return StepReport("choose_params", as_of, changed=True, detail=detail)


def _log(
    context: Context,
    run_id: str,
    params: dict[str, Any],
    result: SearchResult,
    daily: dict[int, Floats],
    audits: list[dict[str, Any]],
) -> None:
    tracking = context.registry.tracking
    overlaps = sum(audit["overlaps"] for audit in audits)
    chosen = {"params": params, "trial": result.place, "value": result.value}
    tracking.write_json(run_id, "search/trials.json", result.trials)
    tracking.write_frame(run_id, RETURNS_FILE, trials_as_frame(daily))
    tracking.write_json(run_id, "search/split_audit.json", audits)
    tracking.write_json(run_id, CHOSEN_FILE, {**chosen, "search_overlaps": overlaps})
    tracking.log(
        run_id,
        params={f"model.{name}": value for name, value in params.items()},
        metrics={
            TRIALS: len(result.trials),
            "search_best_value": result.value,
            **moments_as_metrics(trial_moments(daily.values())),
        },
        tags={"searched": "true"},
    )
