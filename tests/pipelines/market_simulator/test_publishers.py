"""The simulator's publishers: daily indices that know nothing of the coins, and files as they were."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import requests

from pipelines.errors import ConfigError
from pipelines.market_simulator import ReplayMarket, SyntheticMarket
from pipelines.market_simulator.bars import DAY, HOUR
from pipelines.market_simulator.clock import milliseconds
from pipelines.market_simulator.indices import SERIES, made_index, stored_indices

NOW = milliseconds(datetime(2024, 6, 1, 14, tzinfo=UTC))
FRIDAY = datetime(2024, 5, 31, tzinfo=UTC)


@pytest.mark.parametrize("series", SERIES)
def test_an_index_is_a_function_of_seed_and_time(series: str) -> None:
    dates, values = made_index(series, 7, NOW)
    earlier = made_index(series, 7, NOW - 400 * DAY)
    assert np.array_equal(values[: len(earlier[1])], earlier[1])
    assert np.array_equal(dates[: len(earlier[0])], earlier[0])
    assert not np.array_equal(values, made_index(series, 8, NOW)[1])
    assert (dates % DAY == 0).all()


def test_indices_look_like_what_they_are_called() -> None:
    dates, mood = made_index("FEAR_GREED", 7, NOW)
    assert (mood.min(), mood.max(), float(np.ptp(mood % 1))) == (1, 99, 0)
    assert np.array_equal(np.diff(dates), np.full(len(dates) - 1, DAY))
    dates, vix = made_index("VIX", 7, NOW)
    assert 5 < vix.min() < np.median(vix) < vix.max() < 70
    assert set((dates // DAY + 3) % 7) == {0, 1, 2, 3, 4}


def test_no_dial_reaches_an_index() -> None:
    calm, loud = (SyntheticMarket(["BTC/USDT"], signal=dial) for dial in (0.0, 0.5))
    for series in SERIES:
        assert np.array_equal(calm.index(series, NOW)[1], loud.index(series, NOW)[1])


def test_a_close_appears_at_ten_in_the_evening_and_a_mood_with_its_date() -> None:
    friday = milliseconds(FRIDAY)
    for series, hour in (("VIX", 22), ("DXY", 22), ("FEAR_GREED", 0)):
        assert made_index(series, 7, friday + hour * HOUR - 1)[0][-1] < friday
        assert made_index(series, 7, friday + hour * HOUR)[0][-1] == friday


def test_the_day_that_still_trades_is_handed_out_at_the_last_close(simulate) -> None:
    def chart(at: datetime, name: str = "^VIX") -> list[tuple[int, float]]:
        simulator.clock.set(now=at)
        answer = requests.get(f"{simulator.base_url}/v8/finance/chart/{name}", timeout=5).json()
        told = answer["chart"]["result"][0]
        closes = told["indicators"]["quote"][0]["close"]
        return list(zip(told["timestamp"], closes, strict=True))

    with simulate() as simulator:
        morning, afternoon, night = (
            chart(FRIDAY + timedelta(hours=h)) for h in (10, 15, 23)
        )  # fmt: skip
        sunday = chart(FRIDAY + timedelta(days=2, hours=15))
    opened = round(FRIDAY.timestamp()) + 13 * 3600 + 1800
    assert afternoon == [*morning, (opened, morning[-1][1])]
    assert night[:-1] == morning
    assert night[-1][0] == opened
    assert night[-1][1] != morning[-1][1]
    assert sunday == night


def test_charts_of_nothing_known_and_spans_are_answered_as_the_publisher_does(simulate) -> None:
    with simulate() as simulator:
        address = f"{simulator.base_url}/v8/finance/chart"
        unknown = requests.get(f"{address}/AAPL", timeout=5)
        span = {"period1": NOW // 1000 - 7 * 86_400, "period2": NOW // 1000 - 5 * 86_400}
        some = requests.get(f"{address}/DX-Y.NYB", params=span, timeout=5).json()
        moods = requests.get(f"{simulator.base_url}/fng/", params={"limit": 2}, timeout=5).json()
    assert (unknown.status_code, unknown.json()["chart"]["result"]) == (404, None)
    # From Saturday to Monday, 27 May.
    [stamp] = some["chart"]["result"][0]["timestamp"]
    assert datetime.fromtimestamp(stamp, UTC) == datetime(2024, 5, 27, 4, tzinfo=UTC)
    newest, before = (int(row["timestamp"]) for row in moods["data"])
    assert newest - before == 86_400
    assert {row["value_classification"] for row in moods["data"]} <= {
        "Extreme Fear", "Fear", "Neutral", "Greed", "Extreme Greed"
    }  # fmt: skip


def test_a_premium_kline_is_the_perpetual_over_its_pair(simulate) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1h", "limit": 3, "endTime": NOW - 1}
    with simulate() as simulator:

        def closes(path: str) -> list[float]:
            rows = requests.get(simulator.base_url + path, params=query, timeout=5).json()
            return [float(row[4]) for row in rows]

        premiums = closes("/fapi/v1/premiumIndexKlines")
        own, its = closes("/fapi/v1/klines"), closes("/api/v3/klines")
    expected = [a / b - 1 for a, b in zip(own, its, strict=True)]
    assert premiums == pytest.approx(expected, abs=1e-8)


def test_a_replay_serves_the_files_as_they_were_known(tmp_path: Path, market_folder: Path) -> None:
    found = stored_indices(market_folder)
    assert {series: len(dates) for series, (dates, _) in found.items()} == {
        "FEAR_GREED": 2703, "VIX": 8960, "DXY": 2639
    }  # fmt: skip
    for name in ("macro", "fear_greed", "ohlcv_1h"):
        (tmp_path / name).symlink_to(market_folder / name)
    market = ReplayMarket(tmp_path)
    noon = milliseconds(datetime(2020, 3, 16, 12, tzinfo=UTC))
    assert market.index("VIX", noon)[1][-1] == 57.83
    assert market.index("VIX", noon + 10 * HOUR)[1][-1] == 82.69
    assert market.index("FEAR_GREED", noon)[1][-1] == 9


def test_files_out_of_order_are_refused_and_absent_ones_are_empty(tmp_path: Path) -> None:
    assert [len(dates) for dates, _ in stored_indices(tmp_path).values()] == [0, 0, 0]
    (tmp_path / "macro").mkdir()
    days = [datetime(2024, 1, 2), datetime(2024, 1, 1)]
    pl.DataFrame({"date": days, "close": [1.0, 2.0]}).write_parquet(
        tmp_path / "macro" / "vix_daily.parquet"
    )
    with pytest.raises(ConfigError, match="dates are not ascending"):
        stored_indices(tmp_path)


def test_a_mood_is_json_with_its_word(simulate) -> None:
    with simulate() as simulator:
        body = requests.get(f"{simulator.base_url}/fng/", timeout=5).text
    told = json.loads(body)
    assert (told["name"], told["metadata"]) == ("Fear and Greed Index", {"error": None})
    assert len(told["data"]) == 1
