"""The proof on a home's own bars and on the synthetic market, and a stranger's file through the same command."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.grid import Grid
from features.kernels import Array
from features.registry import define, registered
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.prove.canaries import canaries
from pipelines.prove.leakage import chosen_features, prove_leakage, synthetic_bars
from pipelines.prove.leakage_page import write_leakage
from pipelines.settings import load_settings
from pipelines.tables import BARS

HOUR = timedelta(hours=1)
CANARIES = {
    "centred_window", "endless_mean", "filled_momentum", "forward_filled_label", "full_sample_scaling",
    "index_joined_by_date", "missing_counted_as_still", "negative_shift", "same_day_close", "whole_sample_mixture", "whole_sample_states",
}  # fmt: skip
PROGRAM = """
import sys, features
features.__path__.append(sys.argv[1])
from pipelines.cli import main
main(sys.argv[2:])
"""
HONEST = '''
"""A family of one."""
import polars as pl
from features.registry import feature

@feature(windows=(5,), lookback=lambda window: window)
def range_share(window: int) -> pl.Expr:
    """Range of {window} bars over the close [ratio]"""
    low, high = pl.col("low").rolling_min(window), pl.col("high").rolling_max(window)
    return (high - low) / pl.col("close")
'''
LEAKING = HONEST.replace(
    'pl.col("high").rolling_max(window)', 'pl.col("high").rolling_max(window, center=True)'
)


@pytest.fixture
def context(home: Path):
    settings = load_settings({"home": str(home), "universe": ["BTC/USDT", "ETH/USDT"]}, environ={})
    with Context(settings) as context:
        yield context


def prove_dropped(tmp_path: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Drop a file beside the families and run the command as a person does."""
    folder = tmp_path / "dropped"
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(text)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HOURGLASS_")}
    environ["HOURGLASS_HOME"] = str(tmp_path / "home")
    command = [sys.executable, "-c", PROGRAM, str(folder), *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=environ, timeout=240, check=False
    )


def test_a_file_of_ones_own_is_proved_by_the_same_command(tmp_path: Path) -> None:
    answer = prove_dropped(tmp_path, HONEST, "prove", "leakage", "--family", "mine", "--json")
    told = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert set(told) == {"passed", "report", "summary"}
    assert told["passed"] is True
    assert told["summary"] == {"features": 1, "violations": 0, "canaries": 11, "caught": 11}
    report = json.loads(Path(told["report"]).with_suffix(".json").read_text())
    assert [row["name"] for row in report["features"]] == ["range_share_5"]
    assert report["bars"]["source"] == "the synthetic market"


def test_a_file_that_looks_ahead_is_refused_by_name_and_leaves_with_three(tmp_path: Path) -> None:
    answer = prove_dropped(
        tmp_path, LEAKING, "prove", "leakage", "--features", "range_share_5,atr_14", "--synthetic",
        "--report", str(tmp_path / "report"), "--json",
    )  # fmt: skip
    told = json.loads(answer.stdout)
    assert answer.returncode == 3
    assert (told["passed"], told["summary"]["features"]) == (False, 2)
    assert told["report"] == str(tmp_path / "report" / "leakage.html")
    found = json.loads((tmp_path / "report" / "leakage.json").read_text())["violations"]
    assert {row["feature"] for row in found} == {"range_share_5"}
    assert any(row["law"].startswith("prefix invariance") for row in found)
    assert "range_share_5" in Path(told["report"]).read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HONEST.replace(" [ratio]", ""), "mine.py cannot be read: feature 'range_share' of mine"),
        (
            HONEST.replace("lambda window: window", "0"),
            "'range_share_5' of mine: lookback 0 is below",
        ),
        (HONEST.replace("range_share", "rsi").replace("(5,)", "(14,)"), "'rsi_14' of"),
        (HONEST + "\ndef mine:\n", "mine.py cannot be read: SyntaxError"),
        (
            HONEST.replace('pl.col("close")\n', "pl.col('venue')\n"),
            "'range_share_5' of mine failed",
        ),
    ],
    ids=["no unit", "no lookback", "a name that is taken", "no Python", "no number"],
)
def test_a_file_that_cannot_be_a_family_is_refused_by_name(
    tmp_path: Path, text: str, message: str
) -> None:
    answer = prove_dropped(tmp_path, text, "features", "--json")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in json.loads(answer.stderr)["error"]


def test_every_planted_leak_is_caught_on_the_homes_own_bars(
    context: Context, tmp_path: Path
) -> None:
    bars = synthetic_bars(context.settings)
    first, last = bars["known_at"].min(), bars["known_at"].max()
    context.lake.replace(BARS, bars, start=first - HOUR, end=last)
    told: list[tuple[int, int, str]] = []
    chosen = chosen_features(["log_return_1"], ["pumps"])
    leakage = prove_leakage(context, chosen, progress=lambda *stage: told.append(stage))
    assert leakage.passed
    assert (leakage.source, leakage.symbols) == ("the lake", ("BTC/USDT", "ETH/USDT"))
    assert (leakage.start, leakage.end, leakage.rows) == (first, last, bars.height)
    assert {leak.feature.name for leak in leakage.examination.planted} == CANARIES
    assert told[-1][0] == told[-1][1]
    page = write_leakage(leakage, tmp_path).read_text()
    assert "No column looks ahead" in page
    assert not any(mark in page for mark in ("http://", "https://", "<script"))
    assert "prefers-color-scheme: dark" in page
    assert all(name in page for name in (*CANARIES, "pump_score_72", "the newest bar"))


def fails_on_years(grid: Grid) -> Array:
    """The range of the bar, unless there are many bars [ratio]"""
    assert grid.length < 1000, "more bars than it bears"
    return np.log(grid.high / grid.low)


def test_a_column_that_fails_on_the_whole_history_is_named_and_the_others_are_proved(
    context: Context, tmp_path: Path
) -> None:
    chosen = [*define(fails_on_years, lookback=1), *chosen_features(["log_return_1"], [])]
    leakage = prove_leakage(context, chosen, synthetic=True)
    assert not leakage.passed
    assert leakage.summary == {"features": 2, "violations": 1, "canaries": 11, "caught": 11}
    page = write_leakage(leakage, tmp_path)
    report = json.loads(page.with_suffix(".json").read_text())
    (named,) = report["violations"]
    assert (named["feature"], named["law"]) == ("fails_on_years", "computable")
    assert "more bars than it bears" in named["detail"]
    assert [row["name"] for row in report["features"]] == ["log_return_1"]
    assert "fails_on_years" in page.read_text()


def test_a_span_of_the_homes_bars_is_proved_and_a_short_one_refused(context: Context) -> None:
    bars = synthetic_bars(context.settings)
    first, last = bars["known_at"].min(), bars["known_at"].max()
    context.lake.replace(BARS, bars, start=first - HOUR, end=last)
    chosen = chosen_features(["log_return_1"], [])
    start = last - 1000 * HOUR
    assert prove_leakage(context, chosen, start=start, end=last - HOUR).start == start + HOUR
    with pytest.raises(ContractViolation, match=r"span 300 instants.*nothing was proved"):
        prove_leakage(context, chosen, start=last - 300 * HOUR, end=last)
    asked = prove_leakage(context, chosen, start=last - 300 * HOUR, synthetic=True)
    assert asked.source == "the synthetic market"


def test_the_synthetic_market_has_a_hole_and_an_outage_and_repeats(context: Context) -> None:
    bars = synthetic_bars(context.settings)
    assert bars.equals(synthetic_bars(context.settings))
    gaps = bars.with_columns(gap=pl.col("known_at").diff().over("symbol")).filter(
        pl.col("gap") > HOUR
    )
    assert gaps.select("symbol", "gap").rows() == [
        ("BTC/USDT", 2 * HOUR),
        ("BTC/USDT", 34 * HOUR),
        ("ETH/USDT", 34 * HOUR),
    ]


def test_features_are_chosen_by_name_and_family_and_unknown_ones_refused() -> None:
    assert chosen_features([], []) == registered()
    both = chosen_features(["atr_14", "log_return_1"], ["pumps", "volatility"])
    assert both[0].name == "atr_14"
    assert len(both) == len({one.name for one in both})
    assert {one.family for one in both} == {"momentum", "pumps", "volatility"}
    with pytest.raises(ConfigError, match="did you mean 'atr_14'"):
        chosen_features(["atr_15"], [])
    with pytest.raises(ConfigError, match=r"\['pump'\] do not exist"):
        chosen_features([], ["pump"])


def real(folder: Path, base: str, start: datetime, end: datetime) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "ohlcv_1h" / "binance_spot" / f"{base}USDT.parquet")
    opened = pl.col("open_time").cast(pl.Datetime("us", "UTC"))
    given = {
        "taker_buy_volume": "taker_buy_base",
        "quote_volume": "quote_volume",
        "trades": "trades",
    }
    more = [
        (pl.col(held) if held in frame.columns else pl.lit(None))
        .cast(BARS.schema[name])
        .alias(name)
        for name, held in given.items()
    ]
    return (
        frame.with_columns(more)
        .with_columns(
            venue=pl.lit("binance"), symbol=pl.lit(f"{base}/USDT"), open_time=opened,
            known_at=opened + HOUR, ingested_at=opened + HOUR,
        )
        .select(*BARS.schema)
        .filter(pl.col("known_at").is_between(start, end))
    )  # fmt: skip


@pytest.mark.market
@pytest.mark.long
def test_the_outage_of_2018_and_delisted_pairs_keep_the_gap_policy(
    home: Path, market_folder: Path
) -> None:
    spans = {
        ("BTC", "ETH", "BNB"): (datetime(2017, 11, 10, tzinfo=UTC), datetime(2018, 2, 20, tzinfo=UTC)),
        ("BTC", "ETH", "XMR"): (datetime(2023, 12, 1, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC)),
        ("BTC", "ETH", "MATIC"): (datetime(2024, 6, 20, tzinfo=UTC), datetime(2024, 9, 25, tzinfo=UTC)),
    }  # fmt: skip
    reasons = []
    for number, (coins, (start, end)) in enumerate(spans.items()):
        keys = {"home": str(home / str(number)), "universe": [f"{coin}/USDT" for coin in coins]}
        with Context(load_settings(keys, environ={})) as context:
            bars = pl.concat(real(market_folder, coin, start, end) for coin in coins).sort(BARS.key)
            context.lake.replace(BARS, bars, start=start - HOUR, end=end)
            chosen = chosen_features([], ["cross_asset", "momentum", "trend", "volatility"])
            leakage = prove_leakage(context, chosen)
        assert leakage.examination.violations == ()
        assert leakage.passed
        reasons += [cut.why for cut in leakage.examination.cuts]
    assert any(why.startswith("right after 33 missing bars") for why in reasons)
    assert "the last bar of XMR/USDT, which ended" in reasons
    assert "the last bar of MATIC/USDT, which ended" in reasons


def test_a_canary_needs_no_more_bars_than_it_says() -> None:
    """Else it would be caught for its lookback, and not for the leak that is planted in it."""
    assert {(leak.lookback, leak.family) for leak, _ in canaries()} == {(200, "canaries")}
    assert not {leak.name for leak, _ in canaries()} & {one.name for one in registered()}
