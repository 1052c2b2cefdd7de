from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines import clock
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.lake import Lake
from pipelines.tables import BARS, KEY, Column, Table, features_table

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)


def end_of(frame):
    return frame["known_at"].sort()[-1]


def put(lake, frame, **how):
    return lake.replace(BARS, frame, start=START, end=end_of(frame), **how)


@pytest.fixture
def bars(make_bars):
    return make_bars(START, hours=48)


def test_what_is_written_is_read_sorted_by_key_without_the_partition(lake, bars):
    assert put(lake, bars.sample(fraction=1, shuffle=True, seed=1))
    assert_frame_equal(lake.read("bars", end=end_of(bars)), bars)


def test_a_window_excludes_its_start_and_includes_its_end(lake, bars):
    put(lake, bars)
    rows = lake.read("bars", start=START + 2 * STEP, end=START + 4 * STEP, symbols=["ETH/USDT"])
    assert rows["known_at"].to_list() == [START + 3 * STEP, START + 4 * STEP]
    assert set(rows["symbol"]) == {"ETH/USDT"}


def test_nothing_known_after_the_end_is_read(lake, make_bars):
    put(lake, make_bars(START, hours=24 * 70))
    for days in (0, 1, 31, 45, 69):
        end = START + timedelta(days=days)
        rows = lake.read("bars", end=end)
        assert rows.height == 2 * 24 * days
        assert (rows["known_at"] <= end).all()


def test_columns_come_as_asked(lake, bars):
    put(lake, bars)
    rows = lake.read("bars", end=START + STEP, columns=["close", "symbol"])
    assert rows.rows() == [(101.0, "BTC/USDT"), (101.0, "ETH/USDT")]
    with pytest.raises(ConfigError, match="no column 'clsoe'; did you mean 'close'"):
        lake.read("bars", end=START, columns=["clsoe"])


def test_an_absent_table_reads_as_empty_in_its_contract(lake):
    assert_frame_equal(lake.read("bars", end=START), BARS.empty())
    assert not lake.exists("bars")
    assert lake.version("bars") is None
    assert lake.describe() == []
    with pytest.raises(ConfigError, match="table 'barz' is not known"):
        lake.read("barz", end=START)


def test_the_same_rows_again_write_nothing_whatever_their_stamps(lake, bars):
    assert put(lake, bars)
    stamped_later = bars.with_columns(pl.col("ingested_at") + timedelta(days=9))
    assert not put(lake, stamped_later)
    assert lake.version("bars") == 0
    assert_frame_equal(lake.read("bars", end=end_of(bars)), bars)


def test_an_absent_window_is_appended_and_no_file_rewritten(lake, bars, tmp_path):
    early = bars.filter(pl.col("known_at") <= START + 24 * STEP)
    put(lake, early)
    before = set((tmp_path / "lake").rglob("*.parquet"))
    assert put(lake, bars)
    after = set((tmp_path / "lake").rglob("*.parquet"))
    assert before < after
    assert lake.version("bars") == 1
    assert_frame_equal(lake.read("bars", end=end_of(bars)), bars)


def test_a_difference_rewrites_only_itself_and_keeps_other_stamps(lake, bars):
    put(lake, bars)
    hit = (pl.col("symbol") == "ETH/USDT") & (pl.col("known_at") == START + 5 * STEP)
    changed = bars.with_columns(
        close=pl.when(hit).then(104.5).otherwise("close"),
        ingested_at=pl.col("ingested_at") + timedelta(days=1),
    )
    assert put(lake, changed)
    rows = lake.read("bars", end=end_of(bars))
    assert rows.filter(hit)["close"].to_list() == [104.5]
    later = rows.filter(pl.col("ingested_at") > START)
    assert later.select(KEY).rows() == [("binance", "ETH/USDT", START + 5 * STEP)]


def test_a_difference_writes_its_month_anew_and_touches_no_other(lake, bars):
    long = pl.concat(
        [bars, bars.with_columns(pl.col("known_at", "open_time") + timedelta(days=31))]
    ).sort(KEY)
    put(lake, long)
    before = lake.months("bars")
    hit = (pl.col("symbol") == "ETH/USDT") & (pl.col("known_at") == START + 5 * STEP)
    changed = long.with_columns(close=pl.when(hit).then(104.5).otherwise("close"))
    assert put(lake, changed)
    after = lake.months("bars")
    assert sorted(before) == sorted(after) == ["2024-01", "2024-02"]
    assert after["2024-02"] == before["2024-02"]
    assert after["2024-01"].rows == before["2024-01"].rows
    assert not after["2024-01"].files & before["2024-01"].files
    assert_frame_equal(lake.read("bars", end=end_of(long)), changed)


def test_rows_that_are_left_out_leave_the_window_and_no_other(lake, bars):
    put(lake, bars)
    window = {"start": START + 10 * STEP, "end": START + 20 * STEP}
    assert lake.replace(BARS, BARS.empty(), **window, where={"symbol": ["ETH/USDT"]})
    rows = lake.read("bars", end=end_of(bars))
    gone = (pl.col("symbol") == "ETH/USDT") & pl.col("known_at").is_between(
        START + 11 * STEP, START + 20 * STEP
    )
    assert_frame_equal(rows, bars.filter(~gone))
    assert not lake.replace(BARS, BARS.empty(), **window, where={"symbol": ["ETH/USDT"]})


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (pl.lit(float("nan")).alias("close"), "close is NaN or infinite"),
        (pl.lit(float("inf")).alias("volume"), "volume is NaN or infinite"),
        (pl.lit(None, pl.Float64).alias("open"), "open is null"),
        (pl.lit(-1.0).alias("volume"), r"volume \[base\] is not >= 0"),
        (pl.lit(0.0).alias("close"), r"close \[quote\] is not > 0"),
        (pl.lit(50.0).alias("high"), "high below open, close or low"),
        (pl.col("open_time") + timedelta(days=9), "known_at <= open_time"),
        (pl.lit(99.0).alias("taker_buy_volume"), "taker_buy_volume above volume"),
        (pl.lit("ETH/USDT").alias("symbol"), r"duplicate key \(venue, symbol, known_at\)"),
        (pl.col("trades").cast(pl.Float64), "column trades is Float64"),
        (pl.lit(1).alias("extra"), "column extra is unknown"),
    ],
)
def test_a_frame_that_breaks_its_contract_is_refused_whole(expression, message, lake, bars):
    put(lake, bars.head(1))
    with pytest.raises(ContractViolation, match=message) as caught:
        put(lake, bars.with_columns(expression))
    assert "nothing was written" in str(caught.value)
    assert lake.version("bars") == 0


def test_a_refusal_names_table_count_first_instant_and_remedy(lake, bars):
    bad = bars.with_columns(
        low=pl.when(pl.col("known_at") > START + 40 * STEP).then(900.0).otherwise("low")
    )
    with pytest.raises(ContractViolation) as caught:
        put(lake, bad)
    assert "bars: 16 rows of BTC/USDT: high below open, close or low" in caught.value.message
    assert "first 2024-01-02T17:00Z" in caught.value.message
    assert "run the step again" in caught.value.remedy


def test_rows_outside_the_window_are_refused(lake, bars):
    with pytest.raises(ContractViolation, match="94 rows lie outside the window"):
        lake.replace(BARS, bars, start=START, end=START + STEP)
    with pytest.raises(ContractViolation, match="48 rows lie outside"):
        put(lake, bars, where={"symbol": ["ETH/USDT"]})


def test_the_past_is_read_by_version_and_by_instant(lake, bars):
    first, second = bars.filter(pl.col("known_at") <= START + 3 * STEP), bars
    before = clock.now()
    put(lake, first)
    put(lake, second)
    after = clock.now() + timedelta(seconds=1)
    end = end_of(bars)
    assert_frame_equal(lake.read("bars", end=end, version=0), first)
    assert_frame_equal(lake.read("bars", end=end, version=1), second)
    assert_frame_equal(lake.read("bars", end=end, at_time=after), second)
    assert lake.read("bars", end=end, at_time=before - timedelta(days=1)).is_empty()
    with pytest.raises(ConfigError, match="no version 7; versions 0 to 1 were written"):
        lake.read("bars", end=end, version=7)


def test_a_second_process_sees_commits_as_they_come(lake, bars, tmp_path):
    other = Lake(str(tmp_path / "lake"))
    assert not other.exists("bars")
    put(lake, bars.filter(pl.col("known_at") <= START + STEP))
    assert other.read("bars", end=end_of(bars)).height == 2
    put(lake, bars)
    assert other.read("bars", end=end_of(bars)).height == 96
    assert put(other, bars.with_columns(volume=pl.lit(11.0)))
    assert lake.read("bars", end=end_of(bars))["volume"].unique().to_list() == [11.0]


def test_description_and_metadata(lake, bars):
    put(lake, bars)
    (info,) = lake.describe()
    assert (info.name, info.rows, info.version, info.versions) == ("bars", 96, 0, 1)
    assert (info.first, info.last) == (START + STEP, START + 48 * STEP)
    assert info.bytes > 1000
    assert lake.metadata("bars") == {}
    assert lake.set_metadata("bars", {"feature_set": "abc"})
    assert not lake.set_metadata("bars", {"feature_set": "abc"})
    assert lake.metadata("bars") == {"feature_set": "abc"}
    with pytest.raises(ConfigError, match="table features does not exist"):
        lake.set_metadata("features", {"feature_set": "abc"})


def test_maintenance_keeps_every_row_and_run_twice_changes_nothing(lake, bars, tmp_path):
    for hour in range(48):
        known = START + (hour + 1) * STEP
        rows = bars.filter(pl.col("known_at") == known)
        lake.replace(BARS, rows, start=known - STEP, end=known)
    counts = lake.maintain(retention_days=0)["bars"]
    assert counts == {"files_before": 48, "files_after": 1, "files_deleted": 48}
    version = lake.version("bars")
    assert lake.maintain(retention_days=0)["bars"]["files_deleted"] == 0
    assert lake.version("bars") == version
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 2  # the rows, and a checkpoint
    for reader in (lake, Lake(str(tmp_path / "lake"))):
        assert_frame_equal(reader.read("bars", end=end_of(bars)), bars)
    with pytest.raises(ConfigError, match=r"within lake\.retention_days"):
        lake.read("bars", end=end_of(bars), version=3)


def test_a_missing_data_file_is_corruption_and_not_absence(lake, bars, tmp_path):
    put(lake, bars)
    next((tmp_path / "lake").rglob("*.parquet")).unlink()
    with pytest.raises(ContractViolation, match="missing or damaged"):
        Lake(str(tmp_path / "lake")).read("bars", end=end_of(bars))


def features(keys, **columns):
    named = [pl.lit(value, pl.Float32).alias(name) for name, value in columns.items()]
    return keys.select(KEY).with_columns(named)


def test_a_changed_set_of_features_changes_the_schema(lake, bars):
    known = pl.col("known_at")
    early, late = bars.filter(known <= START + STEP), bars.filter(known > START + STEP)
    end = end_of(bars)
    lake.replace(features_table(["a", "b"]), features(early, a=1, b=2), start=START, end=end)
    # A new column is merged in: rows that were there read null.
    lake.replace(features_table(["a", "c"]), features(late, a=3, c=4), start=START + STEP, end=end)
    rows = lake.read("features", end=end)
    assert rows.columns == [*KEY, "a", "b", "c"]
    assert rows.filter(known <= START + STEP).select("a", "b", "c").unique().rows() == [
        (1, 2, None)
    ]
    assert rows.filter(known > START + STEP).select("a", "b", "c").unique().rows() == [(3, None, 4)]
    # Replacing the whole table drops what is no longer there.
    lake.replace(features_table(["a", "c"]), features(bars, a=5, c=6), start=START, end=end)
    rows = lake.read("features", end=end)
    assert rows.columns == [*KEY, "a", "c"]
    assert rows.height == bars.height


def test_wide_float_tables_are_written_to_be_read_fast(lake, bars, tmp_path):
    import pyarrow.parquet as pq

    names = [f"f{i}" for i in range(40)]
    frame = features(bars, **dict.fromkeys(names, 1.5))
    lake.replace(features_table(names), frame, start=START, end=end_of(bars))
    file = next((tmp_path / "lake" / "features").rglob("*.parquet"))
    column = pq.ParquetFile(file).metadata.row_group(0).column(5)
    assert "PLAIN" in column.encodings
    assert not column.has_dictionary_page
    assert column.compression == "LZ4"
    assert column.statistics is None


def test_an_older_file_that_is_split_by_byte_is_read_and_rewritten(lake, bars):
    from deltalake import ColumnProperties, WriterProperties, write_deltalake

    names = [f"f{i}" for i in range(40)]
    frame = features(bars, **dict.fromkeys(names, 1.5))
    split = ColumnProperties(dictionary_enabled=False, encoding="BYTE_STREAM_SPLIT")
    write_deltalake(
        f"{lake.uri}/features",
        frame.with_columns(month=pl.col("known_at").dt.strftime("%Y-%m")),
        partition_by=["month"],
        writer_properties=WriterProperties(
            compression="LZ4_RAW", column_properties=dict.fromkeys(names, split)
        ),
    )
    assert_frame_equal(lake.read("features", end=end_of(bars)), frame)
    changed = features(bars, **dict.fromkeys(names, 2.5))
    assert lake.replace(features_table(names), changed, start=START, end=end_of(bars))
    assert_frame_equal(lake.read("features", end=end_of(bars)), changed)


def test_a_table_that_is_not_partitioned_works_the_same(lake, bars):
    plain = Table("features", "", (*BARS.columns[:3], Column("x", pl.Int64())), partitioned=False)
    frame = bars.select(*KEY, x=pl.int_range(pl.len()))
    assert lake.replace(plain, frame, start=START, end=end_of(bars))
    changed = frame.with_columns(x=pl.col("x") + (pl.col("known_at") == START + 3 * STEP))
    assert lake.replace(plain, changed, start=START, end=end_of(bars))
    assert not lake.replace(plain, changed, start=START, end=end_of(bars))


def test_a_lake_that_cannot_be_written_is_unavailable(bars, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SourceUnavailable, match="the lake did not answer"):
        put(Lake(str(tmp_path / "file")), bars)


@hypothesis_settings(max_examples=40)
@given(data=st.data())
def test_any_sequence_of_replacements_equals_the_same_on_a_frame(data, tmp_path_factory):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    table = Table("features", "", (*BARS.columns[:3], Column("x", pl.Int64(), nullable=True)))
    # Hours around the end of January, so that windows cross a partition.
    origin, hours = datetime(2024, 1, 31, 20, tzinfo=UTC), 8
    twin: dict[tuple[str, int], int | None] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        first = data.draw(st.integers(0, hours - 1))
        last = data.draw(st.integers(first + 1, hours))
        symbols = data.draw(st.sampled_from([["A"], ["B"], ["A", "B"]]))
        keys = [(s, h) for s in symbols for h in range(first + 1, last + 1)]
        values = st.one_of(st.none(), st.integers(0, 2))
        rows = data.draw(st.dictionaries(st.sampled_from(keys), values))
        frame = pl.DataFrame(
            [("v", s, origin + h * STEP, x) for (s, h), x in rows.items()],
            schema=table.schema,
            orient="row",
        )
        expected = {k: x for k, x in twin.items() if k not in keys} | rows
        wrote = lake.replace(
            table,
            frame,
            start=origin + first * STEP,
            end=origin + last * STEP,
            where={"symbol": symbols},
        )
        assert wrote == (expected != twin)
        twin = expected
        read = lake.read("features", end=origin + hours * STEP)
        held = (
            {}
            if read.is_empty()
            else {
                (s, (t - origin) // STEP): x
                for s, t, x in read.select("symbol", "known_at", "x").rows()
            }
        )
        assert held == twin
