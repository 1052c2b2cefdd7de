"""Say whether a frame keeps the contract of its table: vectorised, every broken clause named.

A contract (`pipelines.tables.Table`) becomes a list of clauses, each a Polars expression that is
true where it holds. The lake refuses frames by them on every write; `quality/` builds the Great
Expectations suites from the same contract, and the two are tested to agree.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, reduce
from typing import Any

import polars as pl

from pipelines.clock import format_instant
from pipelines.errors import ContractViolation
from pipelines.tables import Column, Table


@dataclass(frozen=True)
class Clause:
    """One thing a contract asks of every row; `holds` is null where it does not apply."""

    name: str
    column: str
    bound: str
    message: str
    holds: pl.Expr

    @cached_property
    def breaks(self) -> pl.Expr:
        """True in the rows that break it."""
        return ~self.holds.fill_null(value=True)

    @cached_property
    def reason(self) -> pl.Expr:
        """The message in the rows that break it, null elsewhere."""
        return pl.when(self.breaks).then(pl.lit(self.message))


@dataclass(frozen=True)
class Breach:
    """A clause that some rows break.

    Parameters
    ----------
    rows : int
        How many rows break it; 0 where the frame as a whole does (a missing column).
    first : datetime or None
        `known_at` of the earliest of them.
    symbol : str
        Symbol of the earliest of them, "" where the table has none.
    observed : str
        The value found in the earliest of them.
    """

    table: str
    check: str
    column: str
    bound: str
    message: str
    rows: int
    first: datetime | None
    symbol: str
    observed: str

    def __str__(self) -> str:
        where = f" of {self.symbol}" if self.symbol else ""
        when = f" (first {format_instant(self.first)}: {self.observed})" if self.first else ""
        count = f"{self.rows} row{'s' if self.rows != 1 else ''}{where}: " if self.rows else ""
        return f"{self.table}: {count}{self.message}{when}, bound {self.bound}"


# From so many columns of one float type on, their sums and extremes are looked at first.
_WIDE = 30

_clauses_by_contract: dict[tuple[str, tuple[Column, ...]], tuple[Clause, ...]] = {}


def clauses(table: Table) -> tuple[Clause, ...]:
    """Return every row clause of a contract: nullability, finiteness, ranges, row rules, key."""
    identity = (table.name, table.columns)
    if identity not in _clauses_by_contract:
        _clauses_by_contract[identity] = tuple(_derive_clauses(table))
    return _clauses_by_contract[identity]


def _derive_clauses(table: Table) -> Iterator[Clause]:
    for column in table.columns:
        yield from _column_clauses(column)
    for rule in table.rules:
        yield Clause(rule.name, "", rule.name, rule.message, rule.holds)
    key = ", ".join(table.key)
    yield Clause(
        "key_is_unique",
        "",
        f"unique ({key})",
        f"duplicate key ({key})",
        pl.struct(table.key).is_unique() if len(table.key) > 1 else pl.col(*table.key).is_unique(),
    )


def _column_clauses(column: Column) -> Iterator[Clause]:
    name, value = column.name, pl.col(column.name)
    if not column.nullable:
        yield Clause(f"{name}_not_null", name, "not null", f"{name} is null", value.is_not_null())
    if column.dtype.is_float():
        yield Clause(
            f"{name}_finite", name, "finite", f"{name} is NaN or infinite", value.is_finite()
        )
    unit = f" [{column.unit}]" if column.unit else ""
    for sign, bound, holds in (
        (">=", column.ge, value >= column.ge if column.ge is not None else None),
        (">", column.gt, value > column.gt if column.gt is not None else None),
        ("<=", column.le, value <= column.le if column.le is not None else None),
    ):
        if bound is not None and holds is not None:
            text = f"{sign} {bound:g}"
            yield Clause(f"{name} {text}", name, text, f"{name}{unit} is not {text}", holds)


def conform(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with its columns in contract order and its rows sorted by key.

    Raises
    ------
    ContractViolation
        If a column is missing, unknown, or of another dtype. An open table takes further float32
        columns.
    """
    breaches = shape_breaches(table, frame)
    if breaches:
        raise _violation(table, breaches)
    extra = [name for name in frame.columns if name not in table.schema]
    ordered = in_order(frame, [*table.schema, *extra])
    return ordered if is_sorted(ordered, table.key) else ordered.sort(table.key)


def is_sorted(frame: pl.DataFrame, key: Sequence[str]) -> bool:
    """Say whether rows stand in the order of `key`: asking moves no wide row, sorting moves all."""
    follows = pl.lit(value=True)
    for name in reversed(key):
        value, before = pl.col(name), pl.col(name).shift(1)
        follows = (value > before) | ((value == before) & follows)
    return bool(frame.select(follows.slice(1).all()).item())


def in_order(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the columns `names`; hundreds that stand in that order already are not asked for."""
    return frame if frame.columns == list(names) else frame.select(names)


def shape_breaches(table: Table, frame: pl.DataFrame) -> list[Breach]:
    """Return what is wrong with the columns of `frame`: missing, unknown, or of another dtype."""
    found = []
    wanted, given, float32 = table.schema, frame.schema, pl.Float32()
    for name, dtype in wanted.items():
        if name not in given:
            found.append(_shape_breach(table, name, f"column {name} is missing", str(dtype)))
        elif given[name] != dtype:
            message = f"column {name} is {given[name]}"
            found.append(_shape_breach(table, name, message, str(dtype)))
    for name, dtype in given.items():
        if name in wanted:
            continue
        if not table.open_columns:
            found.append(_shape_breach(table, name, f"column {name} is unknown", "absent"))
        elif dtype != float32:
            found.append(_shape_breach(table, name, f"column {name} is {dtype}", "Float32"))
    return found


def _shape_breach(table: Table, column: str, message: str, bound: str) -> Breach:
    return Breach(table.name, "schema", column, bound, message, 0, None, "", "")


def find_breaches(table: Table, frame: pl.DataFrame) -> list[Breach]:
    """Return every clause of the contract that some row of `frame` breaks, worst first.

    A null never breaks a range or a rule: nullability is a clause of its own.
    """
    shape = shape_breaches(table, frame)
    if shape or frame.is_empty():
        return shape
    sound = sound_columns(table, frame)
    rules = [
        clause
        for clause in (*clauses(table), *_open_clauses(table, frame.drop(sound)))
        if clause.column not in sound
    ]
    counts = frame.select(clause.breaks.sum().alias(str(i)) for i, clause in enumerate(rules)).row(
        0
    )
    broken = [(count, clause) for count, clause in zip(counts, rules, strict=True) if count]
    broken.sort(key=lambda pair: -pair[0])
    return [_describe(table, clause, frame, count) for count, clause in broken]


def sound_columns(table: Table, frame: pl.DataFrame) -> frozenset[str]:
    """Return wide tables' nullable float32 columns of which no value breaks any clause.

    The same bounds as `clauses`, asked of sums and extremes: what is left out here (a sum that
    overflows, too) is asked clause by clause. A null counts for nothing; NaN and infinity break.
    """
    declared = {column.name: column for column in table.columns}
    names = [
        name
        for name, dtype in frame.schema.items()
        if dtype == pl.Float32() and (name not in declared or declared[name].nullable)
    ]
    if len(names) < _WIDE or frame.is_empty():
        return frozenset()
    bounds = {name: _bounds(declared.get(name)) for name in names}
    # A sum is finite only if every value in it is; the extremes are only asked for where it matters.
    asked = [pl.col(names).sum().name.prefix("sum "), *_extremes(bounds)]
    found = frame.select(asked).row(0, named=True)
    return frozenset(name for name, bound in bounds.items() if _is_sound(found, name, bound))


def _bounds(column: Column | None) -> tuple[float, float, float]:
    """Return the inclusive lower, exclusive lower and inclusive upper bound, or infinities."""
    bounds = (None, None, None) if column is None else (column.ge, column.gt, column.le)
    low, above, high = bounds
    return (
        -math.inf if low is None else low,
        -math.inf if above is None else above,
        math.inf if high is None else high,
    )


def _extremes(bounds: Mapping[str, tuple[float, float, float]]) -> list[pl.Expr]:
    lowest = [n for n, (low, above, _) in bounds.items() if max(low, above) > -math.inf]
    highest = [n for n, (_, _, high) in bounds.items() if high < math.inf]
    least, most = pl.col(lowest).min(), pl.col(highest).max()
    return [least.name.prefix("min "), most.name.prefix("max ")]


def _is_sound(found: Mapping[str, Any], name: str, bound: tuple[float, float, float]) -> bool:
    low, above, high = bound
    least, most = found.get(f"min {name}"), found.get(f"max {name}")
    return (
        math.isfinite(found[f"sum {name}"])
        and (least is None or (least >= low and least > above))
        and (most is None or most <= high)
    )


def with_reason(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with a column `reason`: the clauses a row breaks, null where it breaks none."""
    rules = [*clauses(table), *_open_clauses(table, frame)]
    reasons = [clause.reason for clause in rules]
    reason = pl.concat_str(reasons, separator="; ", ignore_nulls=True)
    return frame.with_columns(reason=pl.when(reason != "").then(reason))


def require_contract(table: Table, frame: pl.DataFrame) -> None:
    """Refuse a frame that breaks its contract.

    Raises
    ------
    ContractViolation
        Naming table, column, count, first instant, bound and remedy of every broken clause.
    """
    breaches = find_breaches(table, frame)
    if breaches:
        raise _violation(table, breaches)


def _violation(table: Table, breaches: list[Breach]) -> ContractViolation:
    listed = "; ".join(str(breach) for breach in breaches[:5])
    more = f"; and {len(breaches) - 5} more" if len(breaches) > 5 else ""
    return ContractViolation(
        f"{listed}{more}; nothing was written",
        remedy=f"mend what writes {table.name}, or wait until the venue restates, and run the step again",
    )


def _open_clauses(table: Table, frame: pl.DataFrame) -> list[Clause]:
    if not table.open_columns:
        return []
    declared = table.schema
    return [
        Clause(
            f"{name}_finite", name, "finite", f"{name} is NaN or infinite", pl.col(name).is_finite()
        )
        for name in frame.columns
        if name not in declared
    ]


def _describe(table: Table, clause: Clause, frame: pl.DataFrame, count: int) -> Breach:
    bad = frame.filter(clause.breaks).sort("known_at", nulls_last=True)
    row = bad.row(0, named=True)
    shown = [clause.column] if clause.column else _columns_of(clause.holds, bad)
    return Breach(
        table=table.name,
        check=clause.name,
        column=clause.column,
        bound=clause.bound,
        message=clause.message,
        rows=int(count),
        first=row["known_at"],
        symbol=row.get("symbol") or "",
        observed=", ".join(f"{name} = {row[name]}" for name in shown),
    )


def _columns_of(holds: pl.Expr, frame: pl.DataFrame) -> list[str]:
    names = holds.meta.root_names()
    return reduce(
        lambda seen, n: seen if n in seen or n not in frame.columns else [*seen, n],
        names,
        list[str](),
    )
