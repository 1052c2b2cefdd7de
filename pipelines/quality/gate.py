"""Checks as rows: what was observed, the bound, and whether it held; and refusal where it did not.

`validate` runs a table's contract through Great Expectations; `record` writes outcomes as rows of
`quality`; `refuse` keeps the rows of a failed hard check in `quarantine` with the reason and raises
`ContractViolation`. A soft check that fails is a fact about the market: kept, shown, and nothing
stops.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines import clock
from pipelines.clock import format_instant
from pipelines.errors import ContractViolation
from pipelines.lake import Lake
from pipelines.lake.validation import Breach, clauses, find_breaches, shape_breaches, with_reason
from pipelines.tables import KEY, QUALITY, QUARANTINE, Table

ALL = "*"
CONTRACT = "contract"
_TICK = timedelta(microseconds=1)
_STAMP = QUALITY.schema["checked_at"]


@dataclass(frozen=True)
class CheckResult:
    """One check of one table in one run.

    Parameters
    ----------
    known_at : datetime
        The run's `as_of`.
    symbol : str
        "*" for a check over all symbols.
    failing_rows : int
        Rows, bars or symbols that do not hold, as the check says.
    hard : bool
        Whether a failure refuses the rows; a soft failure is only recorded.
    """

    table: str
    check: str
    venue: str
    symbol: str
    known_at: datetime
    observed: str
    bound: str
    passed: bool
    failing_rows: int = 0
    hard: bool = True


def validate(
    table: Table,
    frame: pl.DataFrame,
    *,
    run_known_at: datetime,
    venue: str,
    full: bool = False,
    gate: bool = True,
) -> list[CheckResult]:
    """Check every row against the table's contract, through Great Expectations.

    Parameters
    ----------
    frame : polars.DataFrame
        Rows about to be published, any order; an empty frame passes.
    run_known_at : datetime
        The run's `as_of`.
    venue : str
        Whose rows these are.
    full : bool
        Run the suite clause by clause even where the gate passes (a day, a backfilled chunk: 0.2 s).
    gate : bool
        False leaves Great Expectations out where no clause is broken: the clauses are the same, and
        its overhead is most of an hour's check. `full` asks it all the same.

    Returns
    -------
    list of CheckResult
        One row for the contract as a whole, and one for each clause that some row breaks.
    """
    breaches = find_breaches(table, frame)
    observed = f"{frame.height} rows"
    passed = not breaches
    asked = gate or full or bool(breaches)
    if asked and not frame.is_empty() and not shape_breaches(table, frame):
        failed = _failed_expectations(table, frame, full=full)
        passed = passed and not failed
        observed = "; ".join([observed, *failed])
    worst = max((breach.rows for breach in breaches), default=0)
    summary = CheckResult(
        table=table.name,
        check=CONTRACT,
        venue=venue,
        symbol=ALL,
        known_at=run_known_at,
        observed=observed,
        bound="every clause of the contract holds",
        passed=passed,
        failing_rows=worst if breaches else 0,
    )
    return [summary, *(_as_result(breach, venue, run_known_at) for breach in breaches)]


def contract_checks(table: Table) -> tuple[str, ...]:
    """Return the names of all checks that `validate` may give for `table`."""
    return (CONTRACT, "schema", *(clause.name for clause in clauses(table)))


def record(
    lake: Lake,
    results: Iterable[CheckResult],
    *,
    as_of: datetime,
    table: str,
    venue: str,
    checks: Sequence[str],
) -> bool:
    """Make the rows of `checks` on a venue's `table` at `as_of` equal `results`, in one commit.

    Returns
    -------
    bool
        False if they already are.
    """
    where = {"table": [table], "venue": [venue], "check": list(dict.fromkeys(checks))}
    return lake.replace(QUALITY, _frame(results), start=as_of - _TICK, end=as_of, where=where)


def add(lake: Lake, results: Iterable[CheckResult]) -> bool:
    """Write rows beside those that stand, in one commit; rows of the same key are replaced.

    Returns
    -------
    bool
        False if all of them stand already.
    """
    frame = _frame(results)
    if frame.is_empty():
        return False
    instants = frame["known_at"].sort()
    start, end = instants[0] - _TICK, instants[-1]
    where = {name: frame[name].unique().sort().to_list() for name in ("table", "venue", "check")}
    standing = lake.read(QUALITY.name, start=start, end=end).filter(
        pl.all_horizontal(pl.col(name).is_in(values) for name, values in where.items())
    )
    kept = standing.join(frame, on=list(QUALITY.key), how="anti")
    return lake.replace(QUALITY, pl.concat([kept, frame]), start=start, end=end, where=where)


def _frame(results: Iterable[CheckResult]) -> pl.DataFrame:
    rows = [{k: v for k, v in asdict(r).items() if k != "hard"} for r in results]
    facts = {name: dtype for name, dtype in QUALITY.schema.items() if name != "checked_at"}
    return pl.DataFrame(rows, schema=facts).with_columns(checked_at=pl.lit(clock.now(), _STAMP))


def quarantine(lake: Lake, table: Table, rows: pl.DataFrame, reason: str | None = None) -> bool:
    """Keep refused rows as JSON with the reason; nothing downstream reads them.

    Parameters
    ----------
    rows : polars.DataFrame
        With a column `reason`, unless one reason is given for all.

    Returns
    -------
    bool
        False if they are there already.
    """
    kept = rows if reason is None else rows.with_columns(reason=pl.lit(reason))
    if kept.is_empty():
        return False
    frame = (
        kept.select(
            *(pl.col(name) for name in KEY),
            pl.lit(table.name).alias("table"),
            "reason",
            row_as_json(table, kept).alias("row"),
            pl.lit(clock.now(), _STAMP).alias("quarantined_at"),
        )
        .group_by(*QUARANTINE.key, maintain_order=True)
        .agg(pl.col("row").str.join("\n"), pl.col("quarantined_at").first())
    )
    first, last = frame["known_at"].sort().head(1)[0], frame["known_at"].sort().tail(1)[0]
    standing = lake.read(QUARANTINE.name, start=first - _TICK, end=last)
    facts = [name for name in frame.columns if name != "quarantined_at"]
    fresh = frame.join(standing, on=facts, how="anti").select(*QUARANTINE.schema)
    kept_on = standing.join(fresh, on=list(QUARANTINE.key), how="anti")
    return lake.replace(QUARANTINE, pl.concat([kept_on, fresh]), start=first - _TICK, end=last)


def row_as_json(table: Table, frame: pl.DataFrame) -> pl.Series:
    """Return each row without its audit columns as JSON; equal rows give equal text."""
    facts = [n for n in table.schema if n in frame.columns and n not in table.audit_columns]
    return frame.select(pl.struct(facts).struct.json_encode().alias("row"))["row"]


def refuse(
    lake: Lake,
    table: Table,
    frame: pl.DataFrame,
    results: Sequence[CheckResult],
    *,
    as_of: datetime,
    venue: str,
    remedy: str,
) -> None:
    """Stop if a hard check failed: quarantine the rows that break the contract, and raise.

    Raises
    ------
    ContractViolation
        Naming the failed checks. The rows and `results` are written first; the table itself stays
        as it was.
    """
    failed = [result for result in results if result.hard and not result.passed]
    if not failed:
        return
    names = contract_checks(table)
    if shape_breaches(table, frame):
        rows = frame.with_columns(reason=pl.lit(failed[-1].observed))
        rows = rows if set(KEY) <= set(rows.columns) else rows.clear()
    else:
        rows = with_reason(table, frame).filter(pl.col("reason").is_not_null())
    rows = rows.filter(
        pl.all_horizontal(pl.col(name).is_not_null() for name in KEY if name in rows.columns)
    )
    if not rows.is_empty():
        quarantine(lake, table, rows)
    record(lake, results, as_of=as_of, table=table.name, venue=venue, checks=names)
    raise violation(table.name, failed, as_of, remedy)


def violation(
    table: str, failed: Sequence[CheckResult], as_of: datetime, remedy: str
) -> ContractViolation:
    """Name the failed checks of a run in one error."""
    named = [r for r in failed if r.check != CONTRACT] or list(failed)
    listed = "; ".join(
        f"{r.failing_rows} row{'s' if r.failing_rows != 1 else ''} of {r.symbol}: {r.observed} "
        f"(bound: {r.bound})"
        for r in named[:5]
    )
    more = f"; and {len(named) - 5} more" if len(named) > 5 else ""
    return ContractViolation(
        f"{table} as of {format_instant(as_of)}: {listed}{more}; the hour was refused and its rows "
        "are in quarantine",
        remedy=remedy,
    )


def _failed_expectations(table: Table, frame: pl.DataFrame, *, full: bool) -> list[str]:
    from pipelines.quality import expectations

    if not full and expectations.passes_gate(table, frame):
        return []
    return expectations.failed_expectations(table, frame)


def _as_result(breach: Breach, venue: str, run_known_at: datetime) -> CheckResult:
    when = f" (first {format_instant(breach.first)}: {breach.observed})" if breach.first else ""
    return CheckResult(
        table=breach.table,
        check=breach.check,
        venue=venue,
        symbol=breach.symbol or ALL,
        known_at=run_known_at,
        observed=f"{breach.message}{when}",
        bound=breach.bound,
        passed=False,
        failing_rows=breach.rows,
    )
