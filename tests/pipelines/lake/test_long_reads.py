"""Years of a wide table come in order without being copied: the reader must not be able to tell."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake
from polars.testing import assert_frame_equal

from pipelines.lake import Lake
from pipelines.tables import features_table

NAMES = [f"f{i}" for i in range(20)]
TABLE = features_table(NAMES)
STEP = timedelta(hours=1)
START = datetime(2023, 1, 1, tzinfo=UTC)
HOURS = 24 * 300
END = START + HOURS * STEP


@pytest.fixture(scope="module")
def rows():
    """Two symbols over ten months, with nulls at the beginning of each and here and there."""
    known = pl.datetime_range(START + STEP, END, STEP, time_unit="us", time_zone="UTC", eager=True)
    one = pl.DataFrame({"venue": "binance", "symbol": "BTC/USDT", "known_at": known})
    keys = pl.concat([one, one.with_columns(symbol=pl.lit("ETH/USDT"))])
    values = np.random.default_rng(7).normal(size=(len(NAMES), keys.height)).astype(np.float32)
    frame = keys.hstack([pl.Series(n, v) for n, v in zip(NAMES, values, strict=True)])
    young = pl.col("known_at") <= START + 50 * STEP
    hole = pl.int_range(pl.len()) % 997 == 0
    return frame.with_columns(
        f1=pl.when(~young).then("f1"), f2=pl.when(~hole).then("f2"), f3=pl.lit(None, pl.Float32)
    )


@pytest.fixture(scope="module")
def lake(rows, tmp_path_factory):
    written = Lake(str(tmp_path_factory.mktemp("lake")))
    written.replace(TABLE, rows, start=START, end=END)
    return written


@pytest.mark.parametrize(
    ("first", "last"), [(None, HOURS), (0, HOURS), (800, HOURS - 700), (5, HOURS - 1)]
)
def test_a_window_of_many_months_reads_as_it_was_written(first, last, lake, rows):
    start, end = None if first is None else START + first * STEP, START + last * STEP
    expected = rows.filter(pl.col("known_at") > (start or START), pl.col("known_at") <= end)
    read = lake.read("features", start=start, end=end)
    assert_frame_equal(read, expected)
    assert read["f0"].null_count() == 0
    assert_frame_equal(lake.read("features", start=start, end=end, version=0), expected)


def test_columns_come_in_the_order_they_are_asked_for(lake, rows):
    names = ["f19", "symbol", *NAMES[:18]]
    assert_frame_equal(lake.read("features", end=END, columns=names), rows.select(names))


def test_a_column_younger_than_its_months_reads_null_in_them(rows, tmp_path):
    lake, half = Lake(str(tmp_path)), START + HOURS // 2 * STEP
    early, late = rows.filter(pl.col("known_at") <= half), rows.filter(pl.col("known_at") > half)
    lake.replace(features_table(NAMES[:19]), early.drop("f19"), start=START, end=half)
    lake.replace(TABLE, late, start=half, end=END)
    expected = rows.with_columns(f19=pl.when(pl.col("known_at") > half).then("f19"))
    assert_frame_equal(lake.read("features", end=END), expected)


def test_a_nan_that_another_writer_left_next_to_nulls_stays_what_it_is(rows, tmp_path):
    foreign = rows.with_columns(
        f1=pl.when(pl.int_range(pl.len()) == 4000).then(float("nan")).otherwise("f1")
    ).cast({"f1": pl.Float32})
    month = pl.col("known_at").dt.strftime("%Y-%m").alias("month")
    write_deltalake(tmp_path / "features", foreign.with_columns(month), partition_by=["month"])
    read = Lake(str(tmp_path)).read("features", end=END)
    assert_frame_equal(read, foreign)
    assert read["f1"].is_nan().sum() == 1
    assert read["f1"].null_count() == 100
