from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.quality.funding_checks import check_funding, payments_due

MIDNIGHT = datetime(2024, 6, 1, tzinfo=UTC)
SOL = "SOL/USDT:USDT"


def at(hour):
    return MIDNIGHT + timedelta(hours=hour)


def rows(hours, symbol=SOL):
    instants = pl.Series([at(hour) for hour in hours], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"symbol": [symbol] * len(hours), "known_at": instants})


@pytest.mark.parametrize(
    ("paid", "hour", "due"),
    [
        ([0, 8], 8, None),
        ([0, 8], 15, None),
        ([0, 8], 16, 16),
        ([0, 8], 17, None),  # Waited for once, at 16:00, and not again.
        ([0, 8], 24, 24),
        ([8, 10], 12, 12),  # Every two hours while it lasts.
        ([8, 10], 13, None),
        ([8], 16, 16),
        ([], 16, None),
    ],
)
def test_a_payment_is_due_when_the_contracts_own_interval_is_over(paid, hour, due):
    found = payments_due(rows(paid), start=at(hour - 1), end=at(hour))
    assert found == ({} if due is None else {SOL: at(due)})


def test_a_day_owes_its_newest_payment():
    assert payments_due(rows([0, 8]), start=at(0), end=at(24)) == {SOL: at(24)}


@pytest.mark.parametrize(
    ("paid", "first_bar", "hour", "told"),
    [
        ([0, 8], 0, 24, None),
        ([0, 8], 0, 25, "newest rate 2024-06-01T08:00Z, interval 8 h"),
        # It paid every two hours and may do so every eight again.
        ([6, 8], 0, 16, None),
        ([6, 8], 0, 17, "newest rate 2024-06-01T08:00Z, interval 2 h"),
        ([], 0, 16, None),
        ([], 0, 17, "no rate since its first bar 2024-06-01T00:00Z, interval 8 h"),
    ],
)
def test_funding_older_than_two_of_its_own_intervals_is_refused(paid, first_bar, hour, told):
    bars = rows([first_bar, hour])
    summary, *late = check_funding(rows(paid), bars, venue="binanceusdm", as_of=at(hour))
    assert summary.passed is (told is None)
    assert [(r.symbol, r.observed, r.hard) for r in late] == (
        [] if told is None else [(SOL, told, True)]
    )


def test_a_contract_without_a_bar_of_the_hour_owes_nothing():
    bars = pl.concat([rows([0, 90]), rows([0, 100], "BTC/USDT:USDT")])
    rates = pl.concat([rows([0, 8]), rows([88, 96], "BTC/USDT:USDT")])
    results = check_funding(rates, bars, venue="binanceusdm", as_of=at(100))
    assert [(r.symbol, r.observed, r.passed) for r in results] == [("*", "1 of 1 contracts", True)]
