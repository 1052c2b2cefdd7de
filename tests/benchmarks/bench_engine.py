"""How fast the engine is: a full history, with every exit on, one evaluation, a sweep, a first call.

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

from evaluation.backtest import Setup, evaluate_all
from serving.books import Inputs, Scores, walk_book
from serving.config import CostConfig, FeeTier, RiskConfig
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
# All rules are on; the last drawdown is out of reach, since a halted book would be quick to walk.
COSTS, RISK = CostConfig(), RiskConfig(max_holding_bars=240, flatten_at_drawdown=1.0)
# Resting entries, fee tiers and every exit there is, beside all rules.
ALL_COSTS = CostConfig(
    entry_order="limit",
    entry_offset_atr_multiple=0.25,
    fee_tiers=(
        FeeTier(traded_30_days=1e5, maker_fee_rate=0.0008, taker_fee_rate=0.0009),
        FeeTier(traded_30_days=1e6, maker_fee_rate=0.0006, taker_fee_rate=0.0008),
    ),
)
ALL_RISK = RISK.model_copy(
    update={
        "take_profit_r_multiple": 3.0,
        "trailing_stop_atr_multiple": 4.0,
        "minimum_turnover": 10_000.0,
    }
)
YEAR = 8_760
CONFIGS = 1_000
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
market = Market(
    one, one, one, one, one, one * 0, np.ones(1, np.int64), np.zeros(1), np.zeros(1, np.int64),
    np.zeros(1, np.bool_), np.zeros(2, np.int64),
)
inputs = Inputs(Panel(("A/B",), None, 2, timedelta(hours=1), market), *[one * 1e-4] * 5)
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


def inputs_of(frame: pl.DataFrame, last: datetime | None = None) -> Inputs:
    """Return the inputs of a span; stress comes and goes, correlation is what it is among coins."""
    panel = build_panel(frame, timeframe=HOUR, last=last)
    expected, sigma = opinion(panel.market.close)
    rng = np.random.default_rng(1)
    stress = rng.normal(0.0, 0.4, sigma.shape)
    return Inputs(panel, sigma, sigma * 1.5, expected, np.full_like(sigma, 0.7), stress)


def measure_engine(inputs: Inputs, name: str, costs: CostConfig, risk: RiskConfig) -> None:
    """Print the time of a full history, without and with everything written down."""
    panel = inputs.panel
    limits = limits_of(costs, risk, HOUR)
    signals = model_signals(inputs.ema_gap, 24, inputs.sigma, inputs.atr, risk)
    signals = signals._replace(correlation=inputs.correlation, stress=inputs.stress)

    def engine(*, recording: bool) -> None:
        tape = new_tape(panel.bars, len(panel.symbols), recording=recording)
        run(panel.market, signals, new_state(len(panel.symbols), 1e5), limits, tape)

    engine(recording=False)
    for recording, how in ((False, "curve only"), (True, "all written down")):
        seconds = best_of(lambda on=recording: engine(recording=on))  # type: ignore[misc]
        speed = panel.market.close.size / seconds / 1e6
        print(f"{name + ', ' + how:<38} {seconds * 1e3:8.1f} ms  {speed:6.1f} M bar-symbols/s")
    state = new_state(len(panel.symbols), 1e5)
    told = walk_book("model", inputs, Scores(inputs.ema_gap, 24), state, costs=costs, risk=risk)
    print(f"  orders, fills, cuts, trades          {told.tape.used.tolist()}")


def measure_sweep(inputs: Inputs) -> None:
    """Print the time of one evaluation of a year and of many under different limits."""
    scores = Scores(inputs.ema_gap, 24)
    setups = [
        Setup(
            ALL_COSTS,
            ALL_RISK.model_copy(
                update={
                    "stop_atr_multiple": 1.0 + 0.25 * (number % 10),
                    "kelly_fraction": 0.1 + 0.02 * (number // 10 % 10),
                    "no_trade_band": 0.5 * (number // 100),
                }
            ),
            1e5,
        )
        for number in range(CONFIGS)
    ]
    one = best_of(lambda: list(evaluate_all(inputs, scores, setups[:1])))
    print(f"one evaluation of {inputs.sigma.size:,} bar-symbols   {one * 1e3:8.1f} ms")
    many = best_of(lambda: list(evaluate_all(inputs, scores, setups)), 1)
    print(f"a sweep of {CONFIGS:,} such configurations    {many:8.1f} s")


def main() -> None:
    """Print one line a measurement."""
    frame = bars()
    build = best_of(lambda: build_panel(frame, timeframe=HOUR), 3)
    print(f"build the panel of {frame.height:,} bars        {build * 1e3:8.1f} ms")
    inputs = inputs_of(frame)
    measure_engine(inputs, "engine", COSTS, RISK)
    measure_engine(inputs, "every exit on", ALL_COSTS, ALL_RISK)
    measure_sweep(inputs_of(frame, inputs.panel.known_at(YEAR - 1)))
    first = subprocess.run(
        [sys.executable, "-c", FIRST_CALL], capture_output=True, text=True, check=True
    )
    print(
        f"first call in a new process            {float(first.stdout) * 1e3:8.1f} ms, imports included"
    )


if __name__ == "__main__":
    main()
