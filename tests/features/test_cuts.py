"""Time is cut where a careless feature would look ahead."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from features.cuts import block_ends, choose_cuts

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def keys(symbol: str, first: int, last: int, without: range = range(0)) -> pl.DataFrame:
    known_at = [START + i * HOUR for i in range(first, last + 1) if i not in without]
    return pl.DataFrame(
        {"symbol": symbol, "known_at": known_at},
        schema={"symbol": pl.String, "known_at": pl.Datetime("us", "UTC")},
    )


def test_outages_endings_a_turn_of_month_days_and_the_newest_bars_are_chosen() -> None:
    bars = pl.concat(
        [
            keys("BTC/USDT", 0, 1500, without=range(500, 533)),
            keys("ETH/USDT", 0, 1500, without=range(700, 702)),
            keys("XMR/USDT", 0, 900),
        ]
    )
    cuts = choose_cuts(bars, timeframe=HOUR, lookback=100)
    assert [((cut.instant - START) // HOUR, cut.why, cut.after_gap_of) for cut in cuts] == [
        (407, "the last bar of a block of 840", None),
        (533, "right after 33 missing bars of BTC/USDT", "BTC/USDT"),
        (680, "in the middle of a day", None),
        (702, "right after 2 missing bars of ETH/USDT", "ETH/USDT"),
        (900, "the last bar of XMR/USDT, which ended", None),
        (1119, "in the middle of a day", None),
        (1440, "the turn of a month", None),
        (1499, "the last bar but one", None),
        (1500, "the newest bar", None),
    ]


def test_blocks_end_at_one_instant_or_at_as_many_as_it_takes_with_most_bars_before() -> None:
    bars = keys("BTC/USDT", 0, 2300, without=range(1200, 1205))

    def ends(first: int, last: int) -> list[tuple[int, str]]:
        candidates = bars["known_at"].slice(first, last - first)
        found = block_ends(bars, candidates, timeframe=HOUR, lookback=100)
        return [((cut.instant - START) // HOUR, cut.why) for cut in found]

    # The first bar is number 473,352 since 1970: 432 more than a multiple of 840.
    assert ends(300, 2000) == [(407, "the last bar of a block of 840")]
    assert ends(1150, 2000) == [(1247, "the last bar of a block of 840")]
    assert ends(410, 700) == [
        (575, "the last bar of a block of 168"),
        (527, "the last bar of a block of 120"),
    ]
    assert ends(410, 450) == [(431, "the last bar of a block of 24")]


def test_no_cut_lies_within_two_lookbacks_of_the_first_bar() -> None:
    bars = keys("BTC/USDT", 0, 900, without=range(100, 130))
    cuts = choose_cuts(bars, timeframe=HOUR, lookback=200)
    assert min(cut.instant for cut in cuts) >= START + 400 * HOUR
    assert not any(cut.after_gap_of for cut in cuts)


@pytest.mark.parametrize("count", [0, 1, 402])
def test_too_few_bars_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"span {count} instants.*need more than 402"):
        choose_cuts(keys("BTC/USDT", 1, count), timeframe=HOUR, lookback=200)
