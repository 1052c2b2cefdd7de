import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.lake.order import by_key

KEY = ("symbol", "hour")


def frame(*rows):
    return pl.DataFrame(rows, schema=["symbol", "hour", "x"], orient="row")


def month(first, hours, symbols="AB"):
    return [(s, first + h, 1000 * ord(s) + first + h) for s in symbols for h in range(hours)]


def test_sorted_months_are_put_together_a_symbol_after_the_other():
    rows = by_key(frame(*month(200, 100), *month(0, 200)), KEY)
    assert rows.rows() == month(0, 300)
    assert rows.n_chunks() == 1


def test_a_large_frame_is_put_in_order_without_a_copy():
    wide = [pl.lit(float(i), pl.Float32).alias(f"f{i}") for i in range(300)]
    late, early = (frame(*month(h, 4_000)).with_columns(wide) for h in (4_000, 0))
    rows = by_key(pl.concat([late, early]), KEY)
    assert rows["x"].to_list() == [x for _, _, x in month(0, 8_000)]
    assert rows.n_chunks() == 4


def test_months_that_interleave_are_sorted_row_by_row():
    even = [row for row in month(0, 400) if row[1] % 2 == 0]
    odd = [row for row in month(0, 400) if row[1] % 2 == 1]
    assert by_key(frame(*even, *odd), KEY).rows() == month(0, 400)


def test_a_repaired_hour_that_comes_in_a_file_of_its_own_finds_its_place():
    missing = [row for row in month(0, 300) if row[1] != 150]
    mended = [row for row in month(0, 300) if row[1] == 150]
    assert by_key(frame(*missing, *mended), KEY).rows() == month(0, 300)


def test_no_row_stays_no_row():
    empty = pl.DataFrame(schema={"symbol": pl.String, "hour": pl.Int64, "x": pl.Int64})
    assert_frame_equal(by_key(empty, KEY), empty)


blocks = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 5), st.integers(1, 3)), max_size=8
)


@given(blocks)
def test_the_order_is_that_of_a_sort_whatever_the_runs(found):
    rows = {(s, 40 * first + h): None for s, first, n in found for h in range(100 * n)}
    keys = pl.DataFrame(list(rows), schema={"symbol": pl.String, "hour": pl.Int64}, orient="row")
    assert_frame_equal(by_key(keys, KEY), keys.sort(KEY))


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 40)), unique=True))
def test_one_column_can_be_the_key(found):
    keys = pl.DataFrame(
        [(hour, symbol) for symbol, hour in found],
        schema={"hour": pl.Int64, "symbol": pl.String},
        orient="row",
    ).unique("hour", maintain_order=True)
    assert_frame_equal(by_key(keys, ["hour"]), keys.sort("hour"))
