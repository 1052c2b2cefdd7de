import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from evaluation.tearsheet import TearSheet
from pipelines.errors import ConfigError
from pipelines.tearsheet import RENDERERS, write_tear_sheet

Build = Callable[..., TearSheet]


def test_a_sheet_becomes_one_file_a_format(build_sheet: Build, tmp_path: Path) -> None:
    written = write_tear_sheet(build_sheet(300, 2, plain=True), tmp_path / "made" / "here")
    assert list(written) == ["html", "pdf", "xlsx", "json"] == list(RENDERERS)
    assert {p.name for p in (tmp_path / "made" / "here").iterdir()} == {
        "tear_sheet.html", "tear_sheet.pdf", "tear_sheet.xlsx", "tear_sheet.json",
    }  # fmt: skip
    assert written["html"].read_text().startswith("<!doctype html>")
    assert written["pdf"].read_bytes().startswith(b"%PDF-")
    assert written["xlsx"].read_bytes().startswith(b"PK")
    assert json.loads(written["json"].read_text())["title"] == "ema_crossover"


def test_writing_twice_leaves_the_same_bytes(build_sheet: Build, tmp_path: Path) -> None:
    def written() -> list[bytes]:
        sheet = build_sheet(300, 2, plain=True)
        files = write_tear_sheet(sheet, tmp_path, ["html", "xlsx", "json"])
        return [path.read_bytes() for path in files.values()]

    assert written() == written()


def test_only_what_is_asked_for_is_written(build_sheet: Build, tmp_path: Path) -> None:
    written = write_tear_sheet(build_sheet(300, 0, plain=True), tmp_path, ["json", "json"])
    assert [p.name for p in tmp_path.iterdir()] == ["tear_sheet.json"]
    assert written == {"json": tmp_path / "tear_sheet.json"}


def test_an_unknown_format_is_refused_before_anything_is_written(
    build_sheet: Build, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="cannot be written as docx") as refused:
        write_tear_sheet(build_sheet(300, 0, plain=True), tmp_path, ["html", "docx"])
    assert "html, pdf, xlsx, json" in str(refused.value.remedy)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_put_in_place_leaves_no_draft(
    build_sheet: Build, tmp_path: Path
) -> None:
    (tmp_path / "tear_sheet.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_tear_sheet(build_sheet(300, 0, plain=True), tmp_path, ["json"])
    assert [p.name for p in tmp_path.iterdir()] == ["tear_sheet.json"]


def test_a_bankruptcy_is_written_in_every_format(build_sheet: Build, tmp_path: Path) -> None:
    sheet = build_sheet(300, 2, plain=True)
    gone = sheet.curve.with_columns(
        equity=pl.lit(0.0), drawdown=pl.lit(-1.0), exposure=pl.lit(math.nan)
    )
    lost = dict.fromkeys(sheet.metrics, math.nan)
    written = write_tear_sheet(dataclasses.replace(sheet, curve=gone, metrics=lost), tmp_path)
    assert json.loads(written["json"].read_text())["metrics"]["sharpe"] is None
    assert "–" in written["html"].read_text()
