from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tearsheet.scales import Scale, share_of, short, time_ticks, value_scale

START = datetime(2023, 11, 20, 5, tzinfo=UTC)


def test_marks_stand_at_round_values() -> None:
    ticks = Scale(-0.61, 0.02).ticks("percent")
    assert [t.label for t in ticks] == ["−60%", "−40%", "−20%", "0%"]
    assert ticks[-1].place == pytest.approx(0.61 / 0.63)


def test_counts_have_no_halves() -> None:
    assert [t.label for t in Scale(0.0, 2.0).ticks("count")] == ["0", "1", "2"]


def test_a_wide_span_of_positive_values_is_logarithmic() -> None:
    scale = value_scale([100.0, 10_000.0], log=True)
    assert scale.logarithmic
    assert scale.place(1000.0) == pytest.approx(0.5)
    assert [t.label for t in scale.ticks("money")][:3] == ["100", "200", "500"]
    assert not value_scale([100.0, 300.0], log=True).logarithmic
    assert not value_scale([0.0, 300.0], log=True).logarithmic


def test_zero_is_an_edge_where_nothing_lies_beyond_it() -> None:
    assert value_scale([-0.5, -0.1], zero=True).high == 0.0
    assert value_scale([0.1, 0.5], zero=True).low == 0.0
    assert value_scale([float("nan")], zero=True) == Scale(-1.0, 1.0)
    assert value_scale([]) == Scale(-0.04, 1.04)


def test_labels_are_short() -> None:
    assert short(250_000.0, "money") == "250k"
    assert short(-1_500_000.0, "money") == "−1.5M"
    assert short(0.025, "share") == "2.5%"


@pytest.mark.parametrize(
    ("days", "labels"),
    [
        (0.2, ["20 Nov 05:00", "20 Nov 06:00", "20 Nov 07:00", "20 Nov 08:00", "20 Nov 09:00"]),
        (5, ["21 Nov", "22 Nov", "23 Nov", "24 Nov", "25 Nov"]),
        (500, ["Jan 2024", "Apr 2024", "Jul 2024", "Oct 2024", "Jan 2025", "Apr 2025"]),
        (2600, ["2024", "2025", "2026", "2027", "2028", "2029", "2030", "2031"]),
    ],
)
def test_time_is_marked_where_the_calendar_turns(days: float, labels: list[str]) -> None:
    assert [t.label for t in time_ticks(START, START + timedelta(days=days))] == labels


def test_an_instant_alone_stands_in_the_middle() -> None:
    assert [t.place for t in time_ticks(START, START)] == [0.5]
    assert share_of(START, START, START) == 0.5


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.booleans(),
    st.booleans(),
)
def test_every_value_and_mark_lies_on_its_scale(values: list[float], zero: bool, log: bool) -> None:
    scale = value_scale(values, zero=zero, log=log)
    assert all(-1e-9 <= scale.place(v) <= 1 + 1e-9 for v in values)
    ticks = scale.ticks("ratio")
    assert len(ticks) <= 11
    assert all(-1e-6 <= t.place <= 1 + 1e-6 for t in ticks)


@given(st.integers(1, 100_000))
def test_no_span_of_time_is_crowded_with_marks(hours: int) -> None:
    ticks = time_ticks(START, START + timedelta(hours=hours))
    assert len(ticks) <= 10
    assert all(0 <= t.place <= 1 for t in ticks)
