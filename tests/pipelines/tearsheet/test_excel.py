import re
from collections.abc import Callable
from io import BytesIO
from zipfile import ZipFile

import pytest

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.excel import render_excel

Build = Callable[..., TearSheet]


class Workbook:
    """What a spreadsheet program reads: sheets by name, their XML, and the shared strings."""

    def __init__(self, content: bytes) -> None:
        with ZipFile(BytesIO(content)) as parts:
            names = re.findall(r'<sheet name="([^"]*)"', parts.read("xl/workbook.xml").decode())
            self.pages = {
                name: parts.read(f"xl/worksheets/sheet{i}.xml").decode()
                for i, name in enumerate(names, 1)
            }
            shared = parts.read("xl/sharedStrings.xml").decode()
            self.strings = re.findall(r"<t[^>]*>(.*?)</t>", shared, re.DOTALL)

    def cell(self, page: str, place: str) -> str | float | None:
        found = re.search(rf'<c r="{place}"([^>/]*)(?:/>|>.*?<v>(.*?)</v>)', self.pages[page])
        assert found, f"{page}!{place}"
        if found[2] is None:
            return None
        return self.strings[int(found[2])] if 't="s"' in found[1] else float(found[2])


@pytest.fixture(scope="module")
def sheet(build_sheet: Build) -> TearSheet:
    return build_sheet(800, 30)


@pytest.fixture(scope="module")
def book(sheet: TearSheet) -> Workbook:
    return Workbook(render_excel(sheet))


def test_every_section_has_its_worksheet(book: Workbook) -> None:
    assert list(book.pages) == [
        "Summary", "Equity", "Returns by month", "Daily returns", "By symbol", "By exit", "By regime",
        "All trades", "Costs", "Costs by order", "Costs by symbol", "Why it traded or did not",
        "Monte Carlo", "Monte Carlo summary", "Stress", "Sensitivity", "Sensitivity to costs", "Capacity",
    ]  # fmt: skip


def test_every_bar_and_every_trade_is_in_it(book: Workbook, sheet: TearSheet) -> None:
    assert book.pages["Equity"].count("<row ") == 801
    assert book.pages["All trades"].count("<row ") == 31
    assert book.cell("Equity", "B801") == pytest.approx(sheet.curve["equity"][-1])


def test_instants_are_dates_and_numbers_are_numbers(book: Workbook) -> None:
    # 2022-11-20 01:00 is day 44,885 and one hour since 1899-12-30
    assert book.cell("Equity", "A2") == pytest.approx(44885 + 1 / 24)
    assert book.cell("Equity", "A1") == "known at (UTC)"
    assert book.cell("Equity", "E2") is None
    assert book.cell("Sensitivity", "D3") is None


def test_heads_stay_in_sight(book: Workbook) -> None:
    for name, page in book.pages.items():
        assert 'state="frozen"' in page, name


def test_the_stamp_is_on_every_worksheet(build_sheet: Build) -> None:
    stamped = Workbook(render_excel(build_sheet(300, 2, plain=True, stamp="IN-SAMPLE & more")))
    assert {stamped.cell(name, "A1") for name in stamped.pages} == {"IN-SAMPLE &amp; more"}
    assert stamped.cell("Equity", "A2") == "known at (UTC)"


def test_the_workbook_is_the_same_each_time(sheet: TearSheet) -> None:
    assert render_excel(sheet) == render_excel(sheet)
