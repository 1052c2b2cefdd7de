"""Several models from one form: a run trains the first, and each other is trained by a run of its own."""

import hashlib
import json

from _instants import as_of
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import get_current_context, task

DOC = """Begin a run for every further model of the form; they wait for each other.

Reads: the form. Writes: runs of `retrain_daily`. Re-run: a run that exists is not begun twice."""


def other_runs(params, instant):
    """Return id and form of the runs for all models of a form but the first.

    The id is a function of instant, model and what else was chosen, so nothing is begun twice.
    """
    rest = {name: value for name, value in params.items() if name not in ("models", "as_of")}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:8]
    at = instant.isoformat()
    return [
        {
            "trigger_run_id": f"form__{at}__{model}__{digest}",
            "conf": {**rest, "as_of": at, "models": [model]},
        }
        for model in (params["models"] or [])[1:]
    ]


def train_others():
    """Wire the runs of the other models; without any they are skipped."""

    @task(doc_md=DOC)
    def other_models():
        return other_runs(get_current_context()["params"], as_of())

    TriggerDagRunOperator.partial(
        task_id="train_others",
        trigger_dag_id="retrain_daily",
        logical_date=None,
        skip_when_already_exists=True,
        doc_md=DOC,
    ).expand_kwargs(other_models())
