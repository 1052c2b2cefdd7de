"""### A person overrules who is champion: promote a version, or give the role back.

No gate is asked. It holds from the next hour that no book has traded, moves the aliases in MLflow, and is
written to the ledger with who asked for it and why.

**Run it by hand** with *Trigger*: promote which version, or roll back to the champion before, and why.

**If it fails:** the log says what was wrong with the form: a version whose book was retired, one of other
features, or no reason; the refusal is a row of `decisions`, nothing else was written. If the database or MLflow
does not answer, clear the task. `hourglass promote --version V` and `hourglass rollback` do the same.
"""

from _assets import OUTLETS
from _by_hand import REASON, overrule
from _shared import DEFAULT_ARGS
from airflow.sdk import Param, dag, task

PARAMS = {
    "action": Param("promote", type="string", enum=["promote", "rollback"], title="Action"),
    "version": Param(None, type=["null", "string"], title="Version",
                     description="Whom to promote; of a rollback empty."),
    "reason": REASON,
}  # fmt: skip


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=PARAMS,
    tags=["trading", "manual"],
    doc_md=__doc__,
)
def change_champion():
    """Wire the one task."""

    @task(task_id="change_champion", outlets=OUTLETS["change_champion"])
    def run():
        return overrule("change_champion", "action", "version")

    run()


change_champion()
