"""A promotion that a person decides: shown with its evidence, waited for, and done or written down."""

from datetime import timedelta

from _assets import OUTLETS
from _instants import as_of
from _shared import SETTINGS
from _steps import run_step
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import task

APPROVE, REJECT = "Approve", "Reject"


@task.short_circuit(ignore_downstream_trigger_rules=False)
def is_proposed(report):
    """Say whether a person has to be asked; what follows is skipped where nobody has.

    Reads: the report of `promote_model`. Writes: nothing. Re-run: says the same.
    """
    return report["outcome"] == "proposed"


@task(outlets=OUTLETS["settle_promotion"])
def settle_promotion(report, answer):
    """Do what was answered; silence is a rejection. See `hourglass settle-promotion`.

    Reads: the proposal, the answer. Writes: decisions, the ledger, aliases in MLflow.
    Re-run: finds the answer done.
    """
    from pipelines.steps.settle_promotion import NOBODY

    who = answer["responded_by_user"] or {}
    decided_by = who.get("name") or who.get("id") or NOBODY
    (chosen,) = answer["chosen_options"]
    return run_step("settle_promotion", as_of(), report["version"], chosen, decided_by)


def hours_for_an_answer():
    """Return how long a round may wait for a person; no time where the mode asks nobody."""
    hours = SETTINGS.promotion.approval_hours if SETTINGS.promotion.mode == "approve" else 0.0
    return timedelta(hours=hours)


def ask_a_person(report):
    """Wire the question after the report of `promote_model`."""
    asked = HITLOperator(
        task_id="approve_promotion",
        subject="Promote version {{ ti.xcom_pull('promote_model')['version'] }}?",
        body="{{ ti.xcom_pull('promote_model')['proposal'] }}",
        options=[APPROVE, REJECT],
        defaults=[REJECT],
        response_timeout=timedelta(hours=SETTINGS.promotion.approval_hours),
        doc_md="Reads: the evidence of the proposal. Writes: what a person answers under Required "
        "actions; no answer in time is a rejection. Re-run: asks again.",
    )
    is_proposed(report) >> asked
    settle_promotion(report, asked.output)
