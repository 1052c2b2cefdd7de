"""Two records of the same trading, side by side. Pure functions over frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Amounts are counts of 1e-8 on both sides: they must be the same counts. What is not money (weights,
# rates) went through the same arithmetic: it must agree to the last bits of a double.
_COUNTS = 100_000_000
_RELATIVE = 1e-12
_ABSENT = "no such row"


@dataclass(frozen=True)
class Compared:
    """A table of both records: its name, its key, and what must be equal."""

    name: str
    key: tuple[str, ...]
    amounts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns both sides must have."""
        return (*self.key, *self.amounts, *self.numbers, *self.words)


ORDERS = Compared(
    "orders",
    ("known_at", "symbol", "kind"),
    amounts=("quantity",),
    numbers=("reference_price", "price", "stop_distance", "target_weight"),
    words=("side",),
)
FILLS = Compared(
    "fills",
    ("known_at", "symbol", "kind"),
    amounts=("quantity", "notional", "fee", "realised"),
    numbers=("arrival_price", "reference_price", "price"),
    words=("side",),
)
TRADES = Compared(
    "trades",
    ("exited_at", "symbol"),
    amounts=("quantity", "invested", "realised", "fees"),
    numbers=("entry_price", "exit_price", "mae", "mfe"),
    words=("side", "exit_kind"),
)
EQUITY = Compared("equity", ("known_at",), amounts=("equity", "cash", "exposure"))
RISK_EVENTS = Compared(
    "risk_events", ("known_at", "symbol", "rule"), numbers=("asked", "allowed"), words=("reason",)
)
TABLES = (ORDERS, FILLS, TRADES, EQUITY, RISK_EVENTS)

DIFFERENCES = pl.Schema(
    [
        ("table", pl.String()),
        ("known_at", pl.Datetime("us", "UTC")),
        ("row", pl.String()),
        ("column", pl.String()),
        ("ledger", pl.String()),
        ("backtest", pl.String()),
    ]
)


def side_by_side(table: Compared, ledger: pl.DataFrame, backtest: pl.DataFrame) -> pl.DataFrame:
    """Return both records in one frame: the key, then `<column>` and `<column>_backtest`, and `equal`.

    Parameters
    ----------
    table : Compared
    ledger, backtest : polars.DataFrame
        With `table.columns`; keys are unique on each side.

    Returns
    -------
    polars.DataFrame
        One row a key of either side, sorted by it. `equal` is false where a row is on one side only
        or any column differs; a null equals a null, a NaN a NaN.

    Raises
    ------
    ValueError
        If a key is there twice on one side.
    """
    left, right = ledger.select(table.columns), backtest.select(table.columns)
    for name, frame in (("ledger", left), ("backtest", right)):
        if frame.select(table.key).is_duplicated().any():
            raise ValueError(f"{name}: {table.name} holds two rows of one {', '.join(table.key)}")
    joined = (
        left.with_columns(here=True)
        .join(
            right.with_columns(there=True),
            on=table.key,
            how="full",
            coalesce=True,
            suffix="_backtest",
        )
        .sort(table.key)
    )
    both = pl.col("here").fill_null(False) & pl.col("there").fill_null(False)
    return joined.with_columns(equal=pl.all_horizontal(both, *_tests(table))).drop("here", "there")


def differences(table: Compared, paired: pl.DataFrame) -> pl.DataFrame:
    """Return every cell of `side_by_side` that differs, one row each; see `DIFFERENCES`.

    A row that only one side has is one difference, with column "row".
    """
    found: list[dict[str, object]] = []
    tests = dict(zip(table.columns[len(table.key) :], _tests(table), strict=True))
    wrong = paired.filter(~pl.col("equal")).with_columns(
        tests[c].fill_null(False).alias(f"{c}_same") for c in tests
    )
    for row in wrong.iter_rows(named=True):
        head = {"table": table.name, "known_at": row[table.key[0]], "row": _label(table, row)}
        here, there = (any(row[f"{c}{s}"] is not None for c in tests) for s in ("", "_backtest"))
        if not (here and there):
            sides = ("there", _ABSENT) if here else (_ABSENT, "there")
            found.append({**head, "column": "row", "ledger": sides[0], "backtest": sides[1]})
            continue
        found += [
            {**head, "column": c, "ledger": str(row[c]), "backtest": str(row[f"{c}_backtest"])}
            for c in tests
            if not row[f"{c}_same"]
        ]
    return pl.DataFrame(found, schema=DIFFERENCES)


def first_difference(
    table: str, key: Sequence[str], ours: pl.DataFrame, theirs: pl.DataFrame
) -> tuple[object, str] | None:
    """Return (known_at, sentence) of the first cell in which two keyed inputs differ; None if none.

    Parameters
    ----------
    table : str
        What the frames are rows of, for the sentence.
    key : sequence of str
        Holding `known_at`; both frames have the same columns.
    """
    columns = [c for c in ours.columns if c not in key]
    joined = ours.with_columns(here=True).join(
        theirs.with_columns(there=True), on=key, how="full", coalesce=True, suffix="_backtest"
    )
    same = [pl.col(c).eq_missing(pl.col(f"{c}_backtest")) for c in columns]
    whole = pl.col("here").fill_null(False) & pl.col("there").fill_null(False)
    wrong = joined.filter(~pl.all_horizontal(whole, *same)).sort("known_at", *key).head(1)
    if wrong.is_empty():
        return None
    row = wrong.row(0, named=True)
    where = " ".join(str(row[c]) for c in key if c not in ("known_at", "venue"))
    if row["here"] is None or row["there"] is None:
        side = "backtest" if row["here"] is None else "replay"
        return row["known_at"], f"{table}: only the {side} has the row of {where}"
    column = next(c for c in columns if row[c] != row[f"{c}_backtest"])
    return (
        row["known_at"],
        f"{table}: {column} of {where} is {row[column]!r} in the replay and "
        f"{row[f'{column}_backtest']!r} in the backtest",
    )


def _tests(table: Compared) -> list[pl.Expr]:
    def pair(column: str) -> tuple[pl.Expr, pl.Expr]:
        return pl.col(column), pl.col(f"{column}_backtest")

    def counts(column: str) -> pl.Expr:
        a, b = ((x * _COUNTS).round().cast(pl.Int64) for x in pair(column))
        return a.eq_missing(b)

    def close(column: str) -> pl.Expr:
        a, b = pair(column)
        near = (a - b).abs() <= _RELATIVE * pl.max_horizontal(a.abs(), b.abs())
        return a.eq_missing(b) | near.fill_null(False)

    def same(column: str) -> pl.Expr:
        a, b = pair(column)
        return a.eq_missing(b)

    return [
        *map(counts, table.amounts),
        *map(close, table.numbers),
        *map(same, table.words),
    ]


def _label(table: Compared, row: dict[str, object]) -> str:
    return " ".join(str(row[c]) for c in table.key[1:]) or table.name
