from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.backtest import backtest
from evaluation.stress import NAMED_CRASHES, STRESS_SCHEMA, StressWindow, stress, worst_weeks

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def bars_of(closes: dict[str, list[float]]) -> pl.DataFrame:
    rows = [
        {"symbol": s, "known_at": START + (i + 1) * DAY, "open": c, "high": c, "low": c, "close": c, "volume": 1.0}
        for s, series in sorted(closes.items())
        for i, c in enumerate(series)
        if c > 0
    ]  # fmt: skip
    return pl.DataFrame(rows).with_columns(pl.col("known_at").cast(pl.Datetime("us", "UTC")))


def test_the_named_crashes_are_the_days_they_are_named_after() -> None:
    told = [(w.name, w.start.isoformat()[:16], w.end.isoformat()[:16]) for w in NAMED_CRASHES]
    assert told == [
        ("Black Thursday 2020-03-12", "2020-03-12T00:00", "2020-03-14T00:00"),
        ("Liquidations 2021-05-19", "2021-05-19T00:00", "2021-05-20T00:00"),
        ("Luna 2022-05-07 to 13", "2022-05-07T00:00", "2022-05-14T00:00"),
        ("FTX 2022-11-06 to 12", "2022-11-06T00:00", "2022-11-13T00:00"),
    ]
    assert all(w.start.tzinfo is UTC for w in NAMED_CRASHES)


def test_the_worst_weeks_are_found_by_hand_and_do_not_overlap() -> None:
    # 40 days: a fall of a half on day 11 and of a fifth on day 26; the rest rises a little.
    close = [100.0 + i * 0.1 for i in range(40)]
    close = [c * (0.5 if i >= 10 else 1) * (0.8 if i >= 25 else 1) for i, c in enumerate(close)]
    found = worst_weeks(bars_of({"A": close}), timeframe=DAY, count=5)
    assert len(found) == 2
    first, second = found
    # The small rise weighs least on the highest price: both weeks begin right before their fall.
    assert (first.start, first.end) == (START + 10 * DAY, START + 17 * DAY)
    assert first.name == "worst week from 2024-01-11"
    assert (second.start, second.end) == (START + 25 * DAY, START + 32 * DAY)
    assert not first.overlaps(second)


def test_a_week_counts_the_symbols_that_have_both_its_ends() -> None:
    steady = [100.0] * 20
    # B falls to a tenth but has no bar before day 8 (0 is a missing bar): it counts from day 15 on.
    late = [0.0] * 7 + [100.0] * 9 + [10.0] * 4
    (worst,) = worst_weeks(bars_of({"A": steady, "B": late}), timeframe=DAY)
    assert worst.end == START + 17 * DAY
    assert worst_weeks(bars_of({"A": steady}), timeframe=DAY) == []
    assert worst_weeks(bars_of({"A": steady[:7]}), timeframe=DAY) == []


def test_a_worst_week_keeps_away_from_the_crashes_that_have_a_name() -> None:
    close = [100.0] * 10 + [50.0] * 10 + [45.0] * 10
    crash = StressWindow("crash", START + 9 * DAY, START + 12 * DAY)
    found = worst_weeks(bars_of({"A": close}), timeframe=DAY, apart_from=[crash])
    assert [w.end for w in found] == [START + 21 * DAY]


def test_a_window_is_traded_from_a_fresh_book_and_measured_by_itself(hand_made) -> None:
    window = StressWindow("mine", START + 300 * HOUR, START + 400 * HOUR)
    lead_in = 48 * HOUR
    frame = stress(
        hand_made.bars, hand_made.features, hand_made.scores, [window],
        lead_in=lead_in, **hand_made.terms,
    )  # fmt: skip
    opened = window.start - lead_in
    span = {"first": opened + HOUR, "last": window.end}
    inside = (pl.col("known_at") > opened) & (pl.col("known_at") <= window.end)
    alone = [
        backtest(
            hand_made.bars.filter(inside), hand_made.features, scores,
            strategy=strategy, **hand_made.terms, **span,
        )
        for strategy, scores in (("model", hand_made.scores), ("buy_and_hold", None))
    ]  # fmt: skip
    equity = [result.equity["equity"].to_numpy()[47:] for result in alone]
    (row,) = frame.iter_rows(named=True)
    assert frame.schema == pl.Schema(STRESS_SCHEMA)
    assert (row["name"], row["start"], row["end"]) == ("mine", window.start, window.end)
    assert row["return"] == pytest.approx(equity[0][-1] / equity[0][0] - 1, abs=1e-12)
    peaks = np.maximum.accumulate(equity[0])
    assert row["max_drawdown"] == pytest.approx((equity[0] / peaks - 1).min(), abs=1e-12)
    assert row["buy_and_hold"] == pytest.approx(equity[1][-1] / equity[1][0] - 1, abs=1e-12)
    made = alone[0].fills.filter(pl.col("known_at") > window.start)
    assert row["fills"] == made.height > 0
    assert alone[0].fills.height > made.height


def test_a_window_without_bars_or_scores_was_not_tested(hand_made) -> None:
    before = StressWindow("before", START - 20 * DAY, START - 10 * DAY)
    silent = StressWindow("silent", START + 10 * DAY, START + 12 * DAY)
    quiet = hand_made.scores.filter(pl.col("known_at") > silent.end)
    asked = (hand_made.bars, hand_made.features)
    assert stress(*asked, quiet, [before, silent], **hand_made.terms).is_empty()
    held = stress(*asked, None, [before, silent], strategy="buy_and_hold", **hand_made.terms)
    assert held["name"].to_list() == ["silent"]
    assert held["return"].to_list() == held["buy_and_hold"].to_list()


def test_a_lead_in_shorter_than_a_bar_is_refused(hand_made) -> None:
    with pytest.raises(ValueError, match="lead-in of 0:30:00 is shorter than a bar of 1:00:00"):
        stress(
            hand_made.bars, hand_made.features, None, [],
            lead_in=timedelta(minutes=30), **hand_made.terms,
        )  # fmt: skip
