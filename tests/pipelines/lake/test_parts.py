"""Wide rows that come or change are written past delta-rs: the table must not be able to tell."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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


def files_of(lake):
    return set().union(*(month.files for month in lake.months("features").values()))


def shaken(rows, hours, symbols=("BTC/USDT", "ETH/USDT")):
    hit = pl.col("known_at").is_in([START + h * STEP for h in hours])
    hit &= pl.col("symbol").is_in(symbols)
    return rows.with_columns(f1=pl.col("f1") + hit)


def test_a_changed_hour_takes_only_the_file_that_holds_it_along(lake, rows, tmp_path):
    write(lake, rows, 0, 3)
    for hour in range(3, 8):
        write(lake, rows, hour, hour + 1)
    before, end = files_of(lake), START + 8 * STEP
    for hour in (2, 6):
        changed = shaken(rows, [hour])
        assert write(lake, changed, hour - 1, hour)
        assert not write(lake, changed, hour - 1, hour)
        assert len(before & files_of(lake)) == len(before) - 1
        for reader in (lake, Lake(str(tmp_path / "lake"))):
            assert_frame_equal(reader.read("features", end=end), changed)
        assert write(lake, rows, hour - 1, hour)
        before = files_of(lake)


def test_the_past_and_other_readers_see_an_exchange_as_any_commit(lake, rows, tmp_path):
    write(lake, rows, 0, 8)
    changed, end = shaken(rows, [1, 5]), START + 8 * STEP
    assert write(lake, changed, 0, 8)
    assert parts(tmp_path) == ["month=2024-01", "month=2024-02"]
    assert_frame_equal(lake.read("features", end=end, version=0), rows)
    table = DeltaTable(str(tmp_path / "lake" / "features"))
    read = pl.DataFrame(table.to_pyarrow_table()).select(rows.columns).sort(KEY)
    assert_frame_equal(read, changed)
    table.load_as_version(0)
    read = pl.DataFrame(table.to_pyarrow_table()).select(rows.columns).sort(KEY)
    assert_frame_equal(read, rows)
    assert lake.maintain(retention_days=0)["features"]["files_deleted"] == 2
    assert_frame_equal(Lake(str(tmp_path / "lake")).read("features", end=end), changed)


def test_hours_that_are_left_out_take_their_file_along_and_leave_the_rest(lake, rows):
    write(lake, rows, 0, 4)
    write(lake, rows, 4, 8)
    kept = rows.filter(pl.col("known_at") <= START + 4 * STEP)
    assert write(lake, kept, 4, 8)
    assert lake.version("features") == 2
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), kept)
    assert write(lake, rows, 4, 8)
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), rows)


def test_a_month_too_large_for_memory_is_rewritten_by_delta_rs(lake, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.lake.delta.FEW_ROWS", 7)
    write(lake, rows, 0, 8)
    changed = shaken(rows, [1])
    assert write(lake, changed, 0, 1)
    assert parts(tmp_path) == []
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), changed)


def test_bounds_of_another_writer_are_not_taken_at_their_word(lake, rows):
    write(lake, rows, 0, 8)
    snapshot = lake._log("features").snapshot()
    instant = pl.Series([START + 3 * STEP + timedelta(microseconds=700)])
    cut = snapshot.files.with_columns(last=pl.lit(START + 3 * STEP), first=pl.lit(START))
    assert replace(snapshot, files=cut).files_with(instant).height == 2
    unknown = snapshot.files.with_columns(first=None, last=None).cast(snapshot.files.schema)
    assert replace(snapshot, files=unknown).files_with(instant).height == 2
    assert snapshot.files_with(pl.Series([START - STEP])).is_empty()


def test_rivals_that_change_rows_of_one_file_lose_none(lake, rows, tmp_path):
    write(lake, rows, 0, 8)

    def change(symbol):
        own, mine = Lake(str(tmp_path / "lake")), rows.filter(pl.col("symbol") == symbol)
        for hour in range(1, 8):
            one = shaken(mine, [hour]).filter(pl.col("known_at") == START + hour * STEP)
            window = {"start": START + (hour - 1) * STEP, "end": START + hour * STEP}
            own.replace(TABLE, one, **window, where={"symbol": [symbol]})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, ("BTC/USDT", "ETH/USDT")))
    assert_frame_equal(lake.read("features", end=START + 8 * STEP), shaken(rows, range(1, 8)))
    assert lake.version("features") == 14
