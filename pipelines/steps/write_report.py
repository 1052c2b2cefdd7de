"""Write the daily page of the books."""

from datetime import datetime

from pipelines.clock import check_as_of
from pipelines.context import Context, StepReport
from pipelines.html_page import write_page
from pipelines.report import DAYS, render_report


def write_report(context: Context, as_of: datetime) -> StepReport:
    """Write every book's equity, trades and costs, and the checks that failed, as one HTML page.

    Reads: the ledger, quality. Writes: `<home>/reports/<day>.html`, readable offline.
    Re-run: writes the same page.
    """
    check_as_of(as_of, context.settings.timeframe)
    path = context.settings.home / "reports" / f"{as_of:%Y-%m-%d}.html"
    page = write_page(path, render_report(context, as_of))
    return StepReport("write_report", as_of, page.changed, {"path": str(path), "days": DAYS})
