"""### A person overrules: pause, resume or liquidate a book, or all of them.

A paused book opens nothing and keeps its exits; a liquidating one closes what it holds; a resumed one trades
again, even where the engine had halted it at its largest drawdown. It holds from the next hour the book
trades and is written to the ledger with who asked for it and why.

**Run it by hand** with *Trigger*: which book (`all` is the kill switch), what, and why.

**If it fails:** the log says what was wrong with the form: a book of another name, one that is retired, or no
reason; nothing was written. If the database does not answer, clear the task. `hourglass liquidate --all
--reason TEXT` does the same without Airflow.
"""

from _by_hand import REASON, overrule
from _shared import DEFAULT_ARGS
from airflow.sdk import Param, dag, task

PARAMS = {
    "book": Param("all", type="string", minLength=1, title="Book",
                  description="A book's name as on its page, or all: the kill switch."),
    "action": Param("pause", type="string", enum=["pause", "resume", "liquidate"], title="Action"),
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
def control_book():
    """Wire the one task."""

    @task(task_id="control_book")
    def run():
        return overrule("control_book", "action", "book")

    run()


control_book()
