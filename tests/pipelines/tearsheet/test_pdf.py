import re
import zlib
from collections.abc import Callable
from io import BytesIO

import polars as pl
import pytest
from matplotlib.backends.backend_pdf import PdfPages

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.paper import INNER, LEFT, Paper
from pipelines.tearsheet.paper_tables import lay_out, set_table
from pipelines.tearsheet.pdf import render_pdf
from pipelines.tearsheet.tables import Column, Table

Build = Callable[..., TearSheet]
RED = b"0.7019607843 0.1490196078 0.1176470588 rg"


def pages(document: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b(?!s)", document))


def stamped(document: bytes) -> int:
    """Return on how many drawings there is a box of the stamp's red."""
    streams = re.findall(rb"/FlateDecode >>\nstream\n(.*?)\nendstream", document, re.DOTALL)
    return sum(RED in zlib.decompress(stream) for stream in streams)


def test_the_document_is_a4_and_the_same_each_time(build_sheet: Build) -> None:
    sheet = build_sheet(800, 30)
    document = render_pdf(sheet)
    assert document.startswith(b"%PDF-")
    assert set(re.findall(rb"/MediaBox \[ *([^\]]*?) *\]", document)) == {b"0 0 595.44 841.68"}
    assert pages(document) >= 5
    assert stamped(document) == 0
    assert render_pdf(sheet) == document


def test_the_stamp_is_on_every_page_even_of_a_record_of_one_bar(build_sheet: Build) -> None:
    stamp = "IN-SAMPLE: " + "of its own years " * 9
    document = render_pdf(build_sheet(1, 0, plain=True, stamp=stamp))
    assert stamped(document) == pages(document) >= 2


def test_a_wide_table_is_set_smaller_and_not_cut() -> None:
    columns = tuple(Column(f"c{i}", "heading of words", "money") for i in range(14))
    rows = [["1,234,567.89"] * 14]
    layout = lay_out(columns, rows)
    assert layout.size < lay_out(columns[:3], [row[:3] for row in rows]).size
    assert layout.starts[0] == LEFT
    assert layout.starts[-1] + layout.widths[-1] == pytest.approx(LEFT + INNER)


@pytest.mark.parametrize(("rows", "expected"), [(0, 1), (40, 1), (70, 2), (120, 3)])
def test_a_long_table_goes_on_on_the_next_page(rows: int, expected: int) -> None:
    content = BytesIO()
    frame = pl.DataFrame({"n": range(rows)}, schema={"n": pl.Int64})
    with PdfPages(content) as document:
        paper = Paper(document, "title", "")
        set_table(paper, Table("Numbers", (Column("n", "number", "count"),), frame, "A note."))
        paper.close()
    assert pages(content.getvalue()) == expected
