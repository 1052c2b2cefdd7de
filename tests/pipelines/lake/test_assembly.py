"""Years of a wide table are put in order while they are read: the reader must not be able to tell."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.lake import Lake, assembly
from pipelines.lake.assembly import assemble
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
    assert read.n_chunks() == 1
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


def store(frames):
    """Return a `scan` over frames in memory, and the files it knows."""

    def scan(paths, chosen, names):
        read = pl.concat([frames[path] for path in paths])
        return read.filter(True if chosen is None else chosen).select(names)

    return scan, [(path, frame.height) for path, frame in frames.items()]


def month(symbols, first, hours):
    keys = [("v", s, first + h, None if h % 7 == 0 else float(h)) for s in symbols for h in hours]
    return pl.DataFrame(
        keys, schema={"venue": pl.String, "symbol": pl.String, "hour": pl.Int64, "x": pl.Float32},
        orient="row",
    )  # fmt: skip


HOUR_KEY = ["venue", "symbol", "hour"]
COLUMNS = {"narrow": HOUR_KEY, "wide": ["x"], "key": HOUR_KEY}


def test_rows_that_do_not_come_in_runs_are_left_to_a_sort():
    scan, files = store({str(h): month("ABC", h, range(1)) for h in range(100)})
    assert assemble(scan, files, pl.col("hour") >= 0, **COLUMNS) is None


def test_a_file_of_another_length_than_the_log_says_is_not_trusted():
    scan, files = store({"a": month("AB", 0, range(200))})
    assert assemble(scan, files, pl.col("hour") >= 0, **COLUMNS) is not None
    assert assemble(scan, [("a", 399)], pl.col("hour") >= 0, **COLUMNS) is None


parts = st.lists(
    st.tuples(st.sampled_from(["A", "B", "AB", "BC"]), st.integers(70, 200)), min_size=1
)


@hypothesis_settings(max_examples=50)
@given(parts, st.integers(0, 500), st.integers(0, 500), st.sampled_from([1, 300, 10_000]))
def test_any_files_and_window_equal_a_sort_of_them(found, skip, width, at_once):
    frames = {str(i): month(s, 1000 * i, range(n)) for i, (s, n) in enumerate(found)}
    chosen = pl.col("hour").is_between(skip, skip + 10 * width)
    scan, files = store(frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "_ROWS_AT_ONCE", at_once)
        read = assemble(scan, files, chosen, **COLUMNS)
    expected = pl.concat(frames.values()).filter(chosen).sort(HOUR_KEY)
    if read is None:
        # Only the edges of a window make runs short.
        assert expected.height < 64 * 2 * len(found)
    else:
        assert_frame_equal(read, expected)
