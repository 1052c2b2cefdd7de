"""How fast the engine is: a first call, a full history, an evaluation of a search, a recorded backtest.

Prints; asserts nothing. Uses ten real pairs from 2021 on where the real bars are beside the
repository, a random market of the same size where they are not.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from evaluation.backtest import evaluate
from serving.books import Inputs, Scores, walk_book
from serving.config import CostConfig, RiskConfig
from serving.engine import run
from serving.limits import limits_of
from serving.market import build_panel
from serving.signals import model_signals
from serving.state import new_state
from serving.tape import new_tape

HOUR = timedelta(hours=1)
START = datetime(2021, 1, 1, tzinfo=UTC)
BASES = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ETH", "LINK", "LTC", "SOL", "XRP")
REAL = Path(__file__).resolve().parents[3] / "shared" / "market" / "ohlcv_1h" / "binance_spot"
COSTS, RISK = CostConfig(), RiskConfig(max_holding_bars=240)
FIRST_CALL = """
import time
began = time.perf_counter()
import numpy as np
from datetime import timedelta
from evaluation.backtest import evaluate
from serving.books import Inputs
from serving.config import CostConfig, RiskConfig
from serving.market import Market, Panel
one = np.full((2, 1), 100.0)
market = Market(one, one, one, one, one, one * 0, np.ones(1, np.int64), np.zeros(1), np.zeros(1, np.int64))
inputs = Inputs(Panel(("A/B",), None, 2, timedelta(hours=1), market), one * 1e-4, one * 1e-4, one)
evaluate(inputs, one * 1e-4, 24, costs=CostConfig(), risk=RiskConfig(), initial_cash=1e5)
print(f"{time.perf_counter() - began:.2f}")
"""


def bars() -> pl.DataFrame:
    """Return ten real pairs, or ten random walks of 39,394 hours."""
    if not REAL.is_dir():
        return pl.concat([walk(number, base) for number, base in enumerate(BASES)])
    frames = []
    for base in BASES:
        known_at = pl.col("open_time").cast(pl.Datetime("us", "UTC")) + HOUR
        frames.append(
            pl.read_parquet(REAL / f"{base}USDT.parquet").select(
                pl.lit(f"{base}/USDT").alias("symbol"),
                known_at.alias("known_at"),
                *("open", "high", "low", "close", "volume"),
            )
        )
    return pl.concat(frames).filter(pl.col("known_at") > START).sort("symbol", "known_at")


def walk(seed: int, base: str, hours: int = 39_394) -> pl.DataFrame:
    """Return a random walk in place of a real pair."""
    close = 100 * np.exp(np.random.default_rng(seed).normal(0, 0.007, hours).cumsum())
    before = np.concatenate([[100.0], close[:-1]])
    return pl.DataFrame(
        {
            "symbol": f"{base}/USDT",
            "known_at": pl.datetime_range(
                START + HOUR, START + hours * HOUR, HOUR, time_unit="us", eager=True
            ),
            "open": before,
            "high": np.maximum(before, close) * 1.003,
            "low": np.minimum(before, close) * 0.997,
            "close": close,
            "volume": 1e6,
        }
    )


def best_of(call: Callable[[], object], times: int = 5) -> float:
    """Return the best wall time of several calls, seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def opinion(close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an expectation that follows the last day and is often wrong, and a trailing sigma."""
    rng = np.random.default_rng(0)
    filled = pl.DataFrame(close).fill_nan(None).select(pl.all().forward_fill().log())
    moves = filled.select(pl.all().diff())
    sigma = moves.select(pl.all().rolling_std(72)).to_numpy()
    drift = moves.select(pl.all().rolling_mean(48)).to_numpy() * 24
    return 0.5 * drift + rng.normal(0, 0.004, close.shape), sigma


def main() -> None:
    """Print one line a measurement."""
    frame = bars()
    panel = build_panel(frame, timeframe=HOUR)
    build = best_of(lambda: build_panel(frame, timeframe=HOUR), 3)
    print(f"build the panel of {frame.height:,} bars        {build * 1e3:8.1f} ms")
    close = panel.market.close
    expected, sigma = opinion(close)
    inputs = Inputs(panel, sigma, sigma * 1.5, expected)
    signals = model_signals(expected, 24, inputs.sigma, inputs.atr, RISK)
    limits = limits_of(COSTS, RISK, HOUR)

    def engine(*, recording: bool) -> None:
        tape = new_tape(panel.bars, len(panel.symbols), recording=recording)
        run(panel.market, signals, new_state(len(panel.symbols), 1e5), limits, tape)

    engine(recording=False)
    for recording, name in ((False, "engine, curve only"), (True, "engine, all written down")):
        seconds = best_of(lambda on=recording: engine(recording=on))  # type: ignore[misc]
        speed = close.size / seconds / 1e6
        print(f"{name:<38} {seconds * 1e3:8.1f} ms  {speed:6.1f} M bar-symbols/s")
    state = new_state(len(panel.symbols), 1e5)
    told = walk_book("model", inputs, Scores(expected, 24), state, costs=COSTS, risk=RISK)
    print(f"  of which orders, fills, cuts         {told.tape.used.tolist()}")
    year = slice(0, 5_760)
    part = Inputs(
        build_panel(frame, timeframe=HOUR, last=panel.known_at(year.stop - 1)),
        sigma[year].copy(),
        sigma[year] * 1.5,
        expected[year].copy(),
    )
    terms = {"costs": COSTS, "risk": RISK, "initial_cash": 1e5}
    search = best_of(lambda: evaluate(part, part.ema_gap, 24, **terms))
    print(f"one evaluation of 57,600 bar-symbols   {search * 1e3:8.1f} ms")
    first = subprocess.run(
        [sys.executable, "-c", FIRST_CALL], capture_output=True, text=True, check=True
    )
    print(
        f"first call in a new process            {float(first.stdout) * 1e3:8.1f} ms, imports included"
    )


if __name__ == "__main__":
    main()
