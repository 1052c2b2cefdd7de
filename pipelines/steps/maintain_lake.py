"""Keep the lake small and quick: one file a month instead of one an hour, and no dead files."""

from datetime import datetime

from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport


def maintain_lake(context: Context, as_of: datetime) -> StepReport:
    """Compact every table, and delete files that no version within the retention needs.

    Reads: every table. Writes: the same rows in fewer files. Re-run: changes nothing until
    something was written.
    """
    check_as_of(as_of, context.settings.timeframe)
    done = context.lake.maintain(context.settings.lake.retention_days)
    changed = any(
        c["files_before"] != c["files_after"] or c["files_deleted"] for c in done.values()
    )
    return StepReport("maintain_lake", as_of, changed, {"tables": done})
