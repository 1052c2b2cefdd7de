"""The parity report: one page for a person, and every row of both records as CSV beside it."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader

from pipelines.clock import format_instant
from pipelines.prove.comparison import TABLES, Compared
from pipelines.prove.parity import BookParity, Parity

# Beyond this many rows a table is cut on the page, which says so; the CSV has all of them.
_ROWS_ON_PAGE = 400
_PAGE, _JSON = "parity.html", "parity.json"


def write_parity(parity: Parity, folder: Path) -> Path:
    """Write the report into `folder` and return its page.

    `parity.html`; `parity.json` with the verdict, the summary and every difference; and per book and
    table `<book>/<table>.csv`, both records side by side.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for book in parity.books:
        (folder / book.book).mkdir(exist_ok=True)
        for name, paired in book.tables.items():
            paired.write_csv(folder / book.book / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%MZ")
    told = {
        "passed": parity.passed,
        "start": format_instant(parity.start),
        "end": format_instant(parity.end),
        "symbols": list(parity.symbols),
        "summary": parity.summary,
        "differences": [
            {"book": book.book, **_plain(row)}
            for book in parity.books
            for row in book.differences.iter_rows(named=True)
        ],
    }
    (folder / _JSON).write_text(json.dumps(told, indent=1), encoding="utf-8")
    page = folder / _PAGE
    page.write_text(_render(parity), encoding="utf-8")
    return page


def _render(parity: Parity) -> str:
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["instant"] = format_instant
    template = environment.get_template("parity.html.jinja")
    return template.render(parity=parity, books=[_book(book) for book in parity.books])


def _book(book: BookParity) -> dict[str, Any]:
    tables = [_table(table, book.tables[table.name], book.book) for table in TABLES]
    return {
        "name": book.book,
        "differences": [_plain(row) for row in book.differences.head(_ROWS_ON_PAGE).to_dicts()],
        "difference_count": book.differences.height,
        "tables": tables,
    }


def _table(table: Compared, paired: pl.DataFrame, book: str) -> dict[str, Any]:
    """Return the rows of the page: those that differ first to go in, then the newest."""
    shown = pl.concat([paired.filter(~pl.col("equal")), paired.filter("equal").tail(_ROWS_ON_PAGE)])
    shown = shown.head(_ROWS_ON_PAGE).sort(table.key)
    values = table.columns[len(table.key) :]
    rows = [
        {
            "equal": row["equal"],
            "key": [_text(row[c]) for c in table.key],
            "pairs": [(_text(row[c]), _text(row[f"{c}_backtest"])) for c in values],
        }
        for row in shown.iter_rows(named=True)
    ]
    return {
        "name": table.name,
        "key": table.key,
        "values": values,
        "rows": rows,
        "count": paired.height,
        "equal": int(paired["equal"].sum()),
        "csv": f"{book}/{table.name}.csv",
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: _text(value) for key, value in row.items()}


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return format_instant(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
