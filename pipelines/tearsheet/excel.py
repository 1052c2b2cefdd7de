"""The sheet as a workbook: a section a worksheet, numbers and instants as such, heads frozen."""

import math
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any

import polars as pl
import xlsxwriter

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.figures import GROUPS
from pipelines.tearsheet.formats import FORMATS, Kind
from pipelines.tearsheet.tables import (
    Column,
    Table,
    breakdown_tables,
    capacity_table,
    cost_tables,
    figures,
    monte_carlo_rows,
    months_table,
    sensitivity_tables,
    stress_table,
    trades_table,
    waterfall_table,
)

_WIDEST, _NARROWEST = 60, 9
_ROWS = 1_048_576
_CURVE = (
    Column("known_at", "known at (UTC)", "instant"),
    Column("equity", "equity", "money"),
    Column("drawdown", "drawdown", "fraction"),
    Column("exposure", "exposure", "fraction"),
    Column("rolling_sharpe", "Sharpe, 30 days", "ratio"),
    Column("buy_and_hold", "buy and hold", "money"),
    Column("buy_and_hold_drawdown", "its drawdown", "fraction"),
)
_DAYS = (
    Column("low", "from", "fraction"),
    Column("high", "to", "fraction"),
    Column("days", "days", "count"),
    Column("buy_and_hold_days", "buy and hold", "count"),
)


def render_excel(sheet: TearSheet) -> bytes:
    """Return the workbook; a function of the sheet alone, to the byte."""
    content = BytesIO()
    options = {"in_memory": True, "remove_timezone": True, "nan_inf_to_errors": False}
    book = _Workbook(xlsxwriter.Workbook(content, options), sheet.stamp)
    book.about(f"{sheet.title}: tear sheet", sheet.end)
    book.summary(sheet)
    for table in tables(sheet):
        book.add(table)
    book.close()
    return content.getvalue()


def tables(sheet: TearSheet) -> list[Table]:
    """Return the tables after the summary, a worksheet each, in order."""
    optional = (stress_table(sheet), *sensitivity_tables(sheet), capacity_table(sheet))
    return [
        Table("Equity", _CURVE, sheet.curve.tail(_ROWS - 10)),
        months_table(sheet),
        Table("Daily returns", _DAYS, sheet.distribution),
        *breakdown_tables(sheet),
        trades_table(sheet),
        *cost_tables(sheet),
        waterfall_table(sheet),
        *_monte_carlo(sheet),
        *(table for table in optional if table is not None),
    ]


class _Workbook:
    """Worksheets of one look; every one begins with the stamp, if there is one."""

    def __init__(self, book: Any, stamp: str) -> None:
        self._book, self._stamp = book, stamp
        self._formats = {
            kind: book.add_format({"num_format": form.excel}) for kind, form in FORMATS.items()
        }
        self._head = book.add_format(
            {
                "bold": True,
                "bottom": 1,
                "text_wrap": True,
                "valign": "bottom",
                "bg_color": "#EEF1F5",
            }
        )
        self._number_head = book.add_format(
            {"bold": True, "bottom": 1, "text_wrap": True, "valign": "bottom", "bg_color": "#EEF1F5",
             "align": "right"}
        )  # fmt: skip
        self._warning = book.add_format(
            {"bold": True, "font_color": "#FFFFFF", "bg_color": "#B3261E"}
        )
        self._bold = book.add_format({"bold": True})

    def about(self, title: str, created: datetime) -> None:
        """Write the document's properties, with an instant of the data and not of the clock."""
        self._book.set_properties(
            {"title": title, "author": "Hourglass", "created": created.replace(tzinfo=None)}
        )

    def summary(self, sheet: TearSheet) -> None:
        """Add the worksheet of the figures."""
        page, row = self._page("Summary")
        page.write_string(row, 0, sheet.title, self._bold)
        facts: list[tuple[str, Any, Kind]] = [
            ("first bar (UTC)", sheet.start, "instant"),
            ("last bar (UTC)", sheet.end, "instant"),
            ("bars", sheet.bars, "count"),
            ("capital, quote", sheet.initial_cash, "money"),
        ]
        for label, value, kind in facts:
            row += 1
            page.write_string(row, 0, label)
            self._write(page, row, 1, value, kind)
        page.write_string(row + 1, 0, sheet.explanation)
        row += 3
        heads = ("figure", "strategy", "buy and hold", "meaning")
        for column, head in enumerate(heads):
            page.write_string(
                row, column, head, self._number_head if column in {1, 2} else self._head
            )
        page.freeze_panes(row + 1, 1)
        for group in GROUPS:
            row += 1
            page.write_string(row, 0, group, self._bold)
            for label, kind, own, hold, meaning in figures(sheet, group):
                row += 1
                page.write_string(row, 0, label)
                self._write(page, row, 1, own, kind)
                self._write(page, row, 2, hold, kind)
                page.write_string(row, 3, meaning)
        for column, width in enumerate((30, 18, 18, 44)):
            page.set_column(column, column, width)

    def add(self, table: Table) -> None:
        """Add a worksheet that holds one table."""
        page, row = self._page(table.title)
        if table.note:
            page.write_string(row, 0, table.note)
            row += 1
        rows = table.rows()
        for i, column in enumerate(table.columns):
            page.write_string(
                row, i, column.label, self._number_head if column.is_number else self._head
            )
            page.set_column(i, i, _width(column, [r[i] for r in rows[:200]]))
        page.freeze_panes(row + 1, 1)
        if rows:
            page.autofilter(row, 0, row + len(rows), len(table.columns) - 1)
        for values in rows:
            row += 1
            for i, (value, column) in enumerate(zip(values, table.columns, strict=True)):
                self._write(page, row, i, value, column.kind)

    def close(self) -> None:
        """Write the workbook out."""
        self._book.close()

    def _page(self, name: str) -> tuple[Any, int]:
        page = self._book.add_worksheet(name.replace(",", "")[:31])
        page.set_landscape()
        page.set_paper(9)
        page.fit_to_pages(1, 0)
        if not self._stamp:
            return page, 0
        page.set_row(0, 20, self._warning)
        page.write_string(0, 0, self._stamp, self._warning)
        page.set_header(f"&C&B&KB3261E{self._stamp.replace('&', '&&')[:200]}")
        return page, 1

    def _write(self, page: Any, row: int, column: int, value: Any, kind: Kind) -> None:
        form = self._formats[kind]
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            page.write_blank(row, column, None, form)
        elif isinstance(value, datetime):
            page.write_datetime(row, column, value, form)
        elif isinstance(value, str):
            page.write_string(row, column, value, form)
        else:
            page.write_number(row, column, value, form)


def _width(column: Column, values: Sequence[Any]) -> float:
    if column.kind == "instant":
        return 17.0
    if column.is_number:
        return max(12.0, min(len(column.label) + 2.0, 18.0))
    longest = max((len(str(v)) for v in (column.label, *values)), default=0)
    return float(min(max(longest + 2, _NARROWEST), _WIDEST))


def _monte_carlo(sheet: TearSheet) -> list[Table]:
    fan = sheet.sections.monte_carlo
    told = [{"name": label, "value": value} for label, _, value in monte_carlo_rows(sheet)]
    summary = (Column("name", "over all paths", "text"), Column("value", "value", "number"))
    found = [Table("Monte Carlo summary", summary, pl.DataFrame(told))] if told else []
    if fan is None:
        return found
    levels = (Column(name, name, "number") for name in fan.columns[1:])
    return [Table("Monte Carlo", (Column("step", "bars", "count"), *levels), fan), *found]
