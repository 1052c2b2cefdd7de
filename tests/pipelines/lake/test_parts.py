"""A few wide rows are written past delta-rs: the table must not be able to tell."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from pipelines.errors import SourceUnavailable
from pipelines.lake import Lake
from pipelines.tables import KEY, features_table

NAMES = [f"f{i}" for i in range(20)]
TABLE = features_table(NAMES)
STEP = timedelta(hours=1)
START = datetime(2024, 1, 31, 20, tzinfo=UTC)


@pytest.fixture
def rows(make_bars):
    values = [(pl.col("volume") * i + pl.int_range(pl.len())).alias(n) for i, n in enumerate(NAMES)]
    frame = make_bars(START, hours=8).select(*KEY, *values).cast(dict.fromkeys(NAMES, pl.Float32))
    hole = (pl.col("known_at") == START + 6 * STEP) & (pl.col("symbol") == "ETH/USDT")
    return frame.with_columns(f3=pl.when(~hole).then("f3"))


def write(lake, rows, first, last):
    start, end = START + first * STEP, START + last * STEP
    chosen = rows.filter(pl.col("known_at") > start, pl.col("known_at") <= end)
    return lake.replace(TABLE, chosen, start=start, end=end)


def parts(tmp_path):
    return sorted(file.parent.name for file in (tmp_path / "lake").rglob("part-*.lz4.parquet"))


def test_hours_that_are_appended_read_the_same_here_and_with_delta_rs(lake, rows, tmp_path):
    assert write(lake, rows, 0, 2)
    assert write(lake, rows, 2, 8)
    assert not write(lake, rows, 2, 8)
    assert parts(tmp_path) == ["month=2024-01", "month=2024-02"]
    end = START + 8 * STEP
    for reader in (lake, Lake(str(tmp_path / "lake"))):
        assert_frame_equal(reader.read("features", end=end), rows)
    table = DeltaTable(str(tmp_path / "lake" / "features"))
    assert_frame_equal(pl.DataFrame(table.to_pyarrow_table()).select(rows.columns).sort(KEY), rows)


def test_the_log_says_what_is_in_each_file(lake, rows, tmp_path):
    write(lake, rows, 0, 2)
    write(lake, rows, 2, 8)
    table = DeltaTable(str(tmp_path / "lake" / "features"))
    actions = pl.DataFrame(table.get_add_actions(flatten=True)).sort("min.known_at")
    told = actions.select(
        "num_records", "partition.month", "min.symbol", "max.symbol", "min.known_at", "max.known_at"
    )
    hour = [START + n * STEP for n in range(9)]
    assert told.rows() == [
        (4, "2024-01", "BTC/USDT", "ETH/USDT", hour[1], hour[2]),
        (2, "2024-01", "BTC/USDT", "ETH/USDT", hour[3], hour[3]),
        (10, "2024-02", "BTC/USDT", "ETH/USDT", hour[4], hour[8]),
    ]
    sizes = {f.name: f.stat().st_size for f in (tmp_path / "lake").rglob("*.parquet")}
    assert all(sizes[p.split("/")[-1]] == n for p, n in actions.select("path", "size_bytes").rows())


def test_parts_are_rewritten_and_packed_as_other_files_are(lake, rows, tmp_path):
    write(lake, rows, 0, 2)
    for hour in range(2, 8):
        write(lake, rows, hour, hour + 1)
    changed = rows.with_columns(f1=pl.col("f1") + (pl.col("known_at") == START + 3 * STEP))
    assert write(lake, changed, 0, 8)
    lake.maintain(retention_days=0)
    assert parts(tmp_path) == []
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), changed)


def test_rivals_append_every_hour_once(lake, rows, tmp_path):
    write(lake, rows, 0, 1)

    def append(_):
        own = Lake(str(tmp_path / "lake"))
        for hour in range(1, 8):
            write(own, rows, hour, hour + 1)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, range(3)))
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), rows)
    assert lake.version("features") == 7


def test_a_part_that_cannot_be_written_leaves_the_version_before(lake, rows, tmp_path):
    write(lake, rows, 0, 2)
    # The next hours' month is a file where its folder ought to be.
    (tmp_path / "lake" / "features" / "month=2024-02").write_text("")
    with pytest.raises(SourceUnavailable, match="features: the lake did not answer"):
        write(lake, rows, 2, 8)
    assert_frame_equal(
        lake.read("features", end=START + 8 * STEP),
        rows.filter(pl.col("known_at") <= START + 2 * STEP),
    )
    (tmp_path / "lake" / "features" / "month=2024-02").unlink()
    assert write(lake, rows, 2, 8)
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), rows)
