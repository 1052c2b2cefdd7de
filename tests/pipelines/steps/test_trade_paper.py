"""Paper trading through the ledger: parity with a backtest, catch-up, idempotence, concurrency."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from evaluation.backtest import BacktestResult, backtest
from pipelines.backtests import Request, build_variants, run_backtests
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.ledger import Ledger
from pipelines.ledger.schema import equity, fills, orders, postings, risk_events, trades
from pipelines.ledger.terms import Terms
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.settings import load_settings
from pipelines.steps.control_book import control_book
from pipelines.steps.trade_paper import trade_paper
from pipelines.tables import BARS, SCORES, features_table
from serving.books import FEATURES_READ

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, tzinfo=UTC)
HOURS = 30
END = START + HOURS * HOUR
UNIVERSE = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
VERSIONS = ("1", "2")

Frames = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def venue() -> Iterator[str]:
    """A venue that is asked for its filters only."""
    market = SyntheticMarket(UNIVERSE, seed=7)
    with running_simulator(market, now=END) as simulator:
        yield simulator.base_url


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Bars with a gap and a crash, lively features, and two models that change their mind."""
    rng = np.random.default_rng(23)
    parts = []
    for symbol, price in zip(UNIVERSE, (60_000.0, 3_000.0, 150.0), strict=True):
        moves = rng.standard_t(3, HOURS) * 0.008
        moves[20] = -0.12
        close = np.round(price * np.exp(np.cumsum(moves)), 2)
        open_ = np.round(
            np.concatenate([[price], close[:-1]]) * np.exp(rng.normal(0, 0.002, HOURS)), 2
        )
        parts.append(
            pl.DataFrame(
                {
                    "venue": "binance",
                    "symbol": symbol,
                    "known_at": [START + (i + 1) * HOUR for i in range(HOURS)],
                    "open_time": [START + i * HOUR for i in range(HOURS)],
                    "open": open_,
                    "high": np.maximum(open_, close) * 1.004,
                    "low": np.minimum(open_, close) * 0.996,
                    "close": close,
                    "volume": rng.exponential(3e6 / price, HOURS),
                    "quote_volume": None,
                    "trades": None,
                    "taker_buy_volume": None,
                    "ingested_at": START,
                },
                schema=BARS.schema,
            )
        )
    bars = pl.concat(parts).sort(BARS.key)
    gap = (pl.col("symbol") == "ETH/USDT") & (
        pl.col("known_at").is_between(START + 9 * HOUR, START + 11 * HOUR)
    )
    bars = bars.filter(~gap)
    key = bars.select("venue", "symbol", "known_at")
    n = key.height
    features = key.with_columns(
        realised_vol_72=pl.Series(rng.uniform(0.004, 0.01, n), dtype=pl.Float32),
        atr_14=pl.Series(rng.uniform(0.006, 0.012, n), dtype=pl.Float32),
        ema_gap_24_96=pl.Series(rng.normal(0.003, 0.01, n), dtype=pl.Float32),
        btc_correlation_168=pl.Series(rng.uniform(0.2, 0.9, n), dtype=pl.Float32),
        vol_ratio_24_168=pl.Series(rng.normal(0.0, 0.3, n), dtype=pl.Float32),
    )
    scores = []
    for version in VERSIONS:
        mu = pl.Series(rng.normal(0.004, 0.03, n))
        scores.append(
            key.with_columns(
                model_version=pl.lit(version), p_down=pl.lit(0.3), p_flat=pl.lit(0.3),
                p_up=pl.lit(0.4), expected_return=mu, lower=mu - 0.01, upper=mu + 0.01,
                horizon_bars=pl.lit(24, pl.Int64),
            )
        )  # fmt: skip
    said = pl.concat(scores).sort(SCORES.key)
    unscored = (pl.col("symbol") == "SOL/USDT") & (pl.col("known_at") == START + 15 * HOUR)
    return bars, features, said.filter(~unscored)


@pytest.fixture
def world(
    home: Path, postgres: str, ledger_url: str, venue: str, frames: Frames
) -> Iterator[Callable[..., Context]]:
    """`world(**settings)`: a context whose lake holds the frames and whose ledger holds two models' books."""
    with ExitStack() as stack:

        def make(**overrides: Any) -> Context:
            keys = {
                "home": str(home),
                "database_url": postgres,
                "universe": list(UNIVERSE),
                "exchange.base_url": venue,
                **{name.replace("__", "."): value for name, value in overrides.items()},
            }
            context = stack.enter_context(Context(load_settings(keys, environ={})))
            bars, features, scores = frames
            for table, frame in (
                (BARS, bars), (features_table(list(FEATURES_READ)), features), (SCORES, scores)
            ):  # fmt: skip
                context.lake.replace(table, frame, start=START, end=END)
            for version in VERSIONS:
                open_model_book(context.ledger, version)
            return context

        yield make


def open_model_book(ledger: Ledger, version: str) -> None:
    ledger.open_book(
        f"model-{version}",
        strategy="model",
        model_version=version,
        opened_at=START,
        initial_cash=100_000.0,
        reason="registered",
        decided_by="register",
    )


def trade(context: Context, first: int = 1, last: int = HOURS) -> None:
    for hour in range(first, last + 1):
        trade_paper(context, START + hour * HOUR)


def rows(context: Context, table: sa.Table) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    columns = [c for c in table.columns if c.name != "recorded_at"]
    with engine.connect() as connection:
        return sorted(map(repr, connection.execute(sa.select(*columns))))


def everything(context: Context) -> dict[str, list[tuple[Any, ...]]]:
    from pipelines.ledger.schema import metadata

    return {name: rows(context, table) for name, table in metadata.tables.items()}


def backtest_of(
    context: Context, frames: Frames, strategy: str, version: str | None
) -> BacktestResult:
    """Backtest the same bars under the terms the ledger has recorded."""
    bars, features, scores = frames
    standing = next(s for s in context.ledger.standings() if s.book.strategy == strategy)
    terms = Terms.from_json(standing.terms)
    return backtest(
        bars,
        features,
        scores.filter(pl.col("model_version") == version) if version else None,
        costs=terms.costs,
        risk=terms.risk,
        initial_cash=100_000.0,
        timeframe=HOUR,
        strategy=strategy,
        symbols=terms.symbols,
        first=START + HOUR,
        last=END,
        filters=terms.filters,
    )


def ledger_frames(context: Context, book: str) -> dict[str, pl.DataFrame]:
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    found = {}
    with engine.connect() as connection:
        connection.execute(sa.text("SET timezone = 'UTC'"))
        for table in (orders, fills, equity, risk_events, trades):
            query = sa.select(table).join(
                sa.text("books"), sa.text(f"books.book_id = {table.name}.book_id")
            )
            result = connection.execute(query.where(sa.text("books.name = :name")), {"name": book})
            found[table.name] = [row._asdict() for row in result]
    for trade in found["trades"]:
        trade["exited_at"] = trade["known_at"]
    return found


def assert_parity(context: Context, frames: Frames) -> None:
    strategies = [("model", v, f"model-{v}") for v in VERSIONS]
    strategies += [(s, None, s) for s in ("buy_and_hold", "ema_crossover")]
    for strategy, version, name in strategies:
        expected = backtest_of(context, frames, strategy, version)
        found = ledger_frames(context, name)
        for table, columns in {
            "orders": ("known_at", "symbol", "kind", "side", "quantity", "reference_price", "price", "stop_distance", "target_weight", "cause"),
            "fills": ("known_at", "symbol", "kind", "side", "quantity", "arrival_price", "reference_price", "price", "notional", "fee", "realised", "spread_bps", "impact_bps", "slippage_bps", "fee_bps", "cause"),
            "trades": ("entered_at", "exited_at", "symbol", "side", "bars_held", "quantity", "entry_price", "exit_price", "invested", "realised", "fees", "funding", "mae", "mfe", "r_multiple", "edge", "exit_kind", "exit_cause"),
            "equity": ("known_at", "equity", "cash", "exposure"),
            "risk_events": ("known_at", "symbol", "rule", "asked", "allowed", "reason"),
        }.items():  # fmt: skip
            paper = sorted(tuple(exact(row[c]) for c in columns) for row in found[table])
            theory = sorted(
                tuple(exact(v) for v in row)
                for row in getattr(expected, table).select(columns).iter_rows()
            )
            assert paper == theory, (name, table)


def exact(value: Any) -> Any:
    """Amounts as whole counts of 1e-8 where they are decimals, else the double itself."""
    if value is None or value != value:  # noqa: PLR0124, NaN is unlike itself
        return "nothing"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, str) else round(float(value), 8)


def test_paper_hour_by_hour_is_the_backtest_fill_for_fill(world, frames) -> None:
    context = world()
    trade(context)
    assert_parity(context, frames)
    kinds = {row["kind"] for row in ledger_frames(context, "model-1")["fills"]}
    assert kinds == {"market", "stop_loss"}
    assert context.ledger.verify() == []


def test_a_restart_and_missed_hours_change_nothing(world, frames) -> None:
    first = world()
    trade(first, 1, 12)
    first.close()
    second = world()
    # Hours 13 and 14 were missed; hour 15 catches up.
    report = trade_paper(second, START + 15 * HOUR)
    assert report.detail["hours"] == 3
    trade(second, 16)
    assert_parity(second, frames)
    assert second.ledger.verify() == []


def test_trading_twice_changes_nothing(world) -> None:
    context = world()
    trade(context, 1, 8)
    before = everything(context)
    report = trade_paper(context, START + 8 * HOUR)
    assert not report.changed
    assert not trade_paper(context, START + 3 * HOUR).changed
    assert everything(context) == before


def test_an_hour_is_written_whole_or_not_at_all(world, monkeypatch) -> None:
    context = world()
    trade(context, 1, 5)
    before = everything(context)
    from pipelines.ledger import hours as ledger_hours

    def power_cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger_hours, "append_audit", power_cut)
        with pytest.raises(KeyboardInterrupt):
            trade_paper(context, START + 6 * HOUR)
    assert everything(context) == before
    undisturbed = trade_paper(context, START + 6 * HOUR)
    assert undisturbed.changed
    assert context.ledger.verify() == []


def test_two_schedulers_by_mistake_write_every_hour_once(world) -> None:
    context = world()
    trade(context, 1, 2)
    contexts = [world(), world()]
    for other in contexts:
        assert other.ledger.books()
    errors: list[BaseException] = []

    def work(other: Context) -> None:
        try:
            trade(other, 3, 12)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(other,)) for other in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(rows(context, equity)) == 12 * 4
    assert context.ledger.verify() == []


def test_baselines_open_with_the_first_traded_hour(world) -> None:
    context = world()
    trade_paper(context, START + 4 * HOUR)
    opened = {book.name: book.opened_at for book in context.ledger.books()}
    assert opened["buy_and_hold"] == opened["ema_crossover"] == START + 3 * HOUR
    # The models' books were opened earlier and have walked their hours.
    assert len(rows(context, equity)) == 2 * 4 + 2


def test_an_hour_without_any_bar_waits_for_the_next(world, frames) -> None:
    context = world()
    trade(context)
    before = everything(context)
    report = trade_paper(context, END + HOUR)
    assert not report.changed
    assert "no bar is known" in report.detail["waiting"]
    assert everything(context) == before


def test_a_retired_book_trades_its_last_hour_and_no_more(world) -> None:
    context = world()
    trade(context, 1, 5)
    ledger = context.ledger
    assert ledger.retire_book(
        "model-2", at=START + 6 * HOUR, reason="too many", decided_by="register"
    )
    assert not ledger.retire_book("model-2", at=START + 7 * HOUR, reason="again", decided_by="x")
    trade(context, 6, 9)
    assert len(ledger_frames(context, "model-2")["equity"]) == 6
    live = {book.name for book in ledger.live_books(START + 7 * HOUR)}
    assert live == {"model-1", "buy_and_hold", "ema_crossover"}
    roles = {b["book"]: b["role"] for b in ledger.status(START + 9 * HOUR)["books"]}
    assert roles["model-2"] == "retired"


def grown(context: Context, book: str, after: int) -> list[int]:
    """Hours after `after` in which the book ordered more of anything."""
    ordered = ledger_frames(context, book)["orders"]
    hours = [(row["known_at"] - START) // HOUR for row in ordered if row["side"] == "buy"]
    return [hour for hour in hours if hour > after]


def test_a_paused_book_orders_nothing_more_and_the_others_go_on(world, frames) -> None:
    context = world()
    trade(context, 1, 6)
    told = control_book(context, START + 6 * HOUR, "pause", "model-1", "news", "ann")
    (answer,) = told.detail["books"]
    assert told.changed
    assert (answer["mode"], answer["effective_from"]) == ("pause", "2024-06-01T07:00Z")
    assert not control_book(context, START + 6 * HOUR, "pause", "model-1", "again", "ann").changed
    trade(context, 7, 14)
    assert grown(context, "model-1", 6) == []
    assert grown(context, "ema_crossover", 6) != []
    rules = {
        r["rule"]
        for r in ledger_frames(context, "model-1")["risk_events"]
        if r["known_at"] > START + 6 * HOUR
    }
    assert "control" in rules
    control_book(context, START + 14 * HOUR, "resume", "all", "over", "ann")
    trade(context, 15, HOURS)
    assert grown(context, "model-1", 14) != []
    assert context.ledger.verify() == []


def test_a_book_that_the_engine_halted_is_seen_and_trades_again_once_a_person_resumes_it(
    world,
) -> None:
    context = world(risk__reduce_at_drawdown=0.005, risk__flatten_at_drawdown=0.01)
    trade(context, 1, 22)
    halted = {b["book"]: b["halted"] for b in context.ledger.status(START + 22 * HOUR)["books"]}
    # Model 1 lost less than the limit; no rule holds for buy and hold.
    assert halted == {
        "buy_and_hold": False, "ema_crossover": True, "model-1": False, "model-2": True,
    }  # fmt: skip
    told = control_book(context, START + 22 * HOUR, "resume", "all", "looked at it", "ann")
    assert {b["book"] for b in told.detail["books"] if b["changed"]} == {
        name for name, stopped in halted.items() if stopped
    }
    trade(context, 23, 23)
    peaks = {
        name: (row["equity"], row["state"]["money"]["peak"], row["state"]["conduct"]["halted"])
        for name in halted
        for row in ledger_frames(context, name)["equity"][-1:]
    }
    equity, peak, still_halted = peaks["ema_crossover"]
    assert (Decimal(peak), still_halted) == (equity, 0)
    assert peaks["buy_and_hold"][0] < Decimal(peaks["buy_and_hold"][1])
    assert context.ledger.verify() == []


def test_the_kill_switch_closes_all_positions_by_the_next_open(world) -> None:
    context = world()
    trade(context, 1, 8)
    control_book(context, START + 8 * HOUR, "liquidate", "all", "exchange in trouble", "ann")

    def held(hour: int) -> set[str]:
        books = context.ledger.status(START + hour * HOUR)["books"]
        return {position["symbol"] for book in books for position in book["positions"]}

    # The close of hour 9 orders, the open of hour 10 fills; the symbol without bars in hours 9 to 11
    # goes at the first open after a close of its own.
    trade(context, 9, 13)
    assert held(8) == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
    assert held(10) == held(12) == {"ETH/USDT"}
    assert held(13) == set()
    assert context.ledger.verify() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stop", "all", "r", "ann"), "action 'stop' is not known"),
        (("pause", "all", " ", "ann"), "has no reason"),
        (("pause", "nobody", "r", "ann"), "'nobody' does not exist"),
    ],
)
def test_a_control_without_sense_or_reason_is_refused(words, said, world) -> None:
    context = world()
    before = everything(context)
    with pytest.raises(ConfigError, match=said):
        control_book(context, START, *words)
    assert everything(context) == before


def test_changed_limits_apply_from_the_next_hour_and_are_recorded(world) -> None:
    context = world()
    trade(context, 1, 4)
    tighter = world(risk__max_asset_weight=0.1)
    trade(tighter, 5, 8)
    terms = next(s.terms for s in tighter.ledger.standings() if s.book.name == "model-1")
    assert terms["risk"]["max_asset_weight"] == 0.1
    weights = [
        row["target_weight"]
        for row in ledger_frames(tighter, "model-1")["orders"]
        if row["known_at"] > START + 4 * HOUR and row["side"] == "buy"
    ]
    assert all(weight <= 0.1 for weight in weights)
    assert tighter.ledger.verify() == []


def test_another_timeframe_for_books_that_trade_is_refused(world) -> None:
    context = world()
    trade(context, 1, 2)
    with pytest.raises(ContractViolation, match="trades 1h bars, the settings say 4h"):
        trade_paper(world(timeframe="4h"), START + 8 * HOUR)


def test_a_venue_is_met_once_for_its_filters_and_never_again(world) -> None:
    trade(world(), 1, 2)
    offline = world(exchange__base_url="http://127.0.0.1:9", exchange__max_attempts=1)
    assert trade_paper(offline, START + 3 * HOUR).changed


def test_a_first_hour_without_the_venue_writes_nothing(world) -> None:
    context = world(exchange__base_url="http://127.0.0.1:9", exchange__max_attempts=1)
    before = everything(context)
    with pytest.raises(SourceUnavailable):
        trade_paper(context, START + HOUR)
    assert everything(context) == before


def test_an_hour_off_the_grid_or_in_the_future_is_refused(world) -> None:
    context = world()
    with pytest.raises(ConfigError, match="off the 1h grid"):
        trade_paper(context, START + HOUR / 2)
    with pytest.raises(ConfigError, match="in the future"):
        trade_paper(context, START.replace(year=2999))


@pytest.mark.parametrize(
    ("universe", "named"),
    [
        (["BTC/USDT", "BTC/KRW"], "KRW, USDT"),
        (["BTC/USDT:USDT", "ETH/USDC:USDC"], "USDC, USDT"),
        (["ETH/USDT", "BTC/USDT:USDT"], "BTC/USDT:USDT beside ETH/USDT"),
    ],
)
def test_a_universe_of_several_currencies_or_of_pairs_and_contracts_is_refused(
    universe, named, world
) -> None:
    context = world(universe=universe)
    with pytest.raises(ConfigError, match=named):
        trade_paper(context, START + HOUR)


def test_a_state_that_is_not_the_fold_of_its_postings_is_not_traded(world) -> None:
    context = world()
    trade(context, 1, 5)
    engine = sa.create_engine(context.databases.ledger, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SET session_replication_role = replica"))
        connection.execute(
            sa.update(postings).where(postings.c.account == "cash", postings.c.kind == "fill")
            .values(amount=postings.c.amount + 1)
        )  # fmt: skip
    with pytest.raises(ContractViolation, match=r"cash of USDT is .* nothing was traded"):
        trade_paper(world(), START + 6 * HOUR)


def backtest_model(context: Context, model: str, start: datetime, end: datetime) -> dict[str, Any]:
    variants = tuple(build_variants(context.settings))
    request = Request((model,), start, end, variants, reported=False)
    return run_backtests(context, request, lambda *_: None)


def test_backtest_of_a_baseline_reads_lake_and_ledger_and_writes_nothing(world) -> None:
    context = world()
    trade(context, 1, 3)
    before = everything(context)
    answer = backtest_model(context, "ema_crossover", START, END)
    assert answer["strategy"] == "ema_crossover"
    assert answer["waterfall"]["bars"] == 3 * HOURS - 3
    assert answer["fills"] == answer["metrics"]["fills"] > 0
    assert everything(context) == before


def test_backtest_without_champion_bars_or_span_is_refused(world) -> None:
    context = world()
    with pytest.raises(ConfigError, match="no champion"):
        backtest_model(context, "champion", START, END)
    with pytest.raises(ConfigError, match="is empty"):
        backtest_model(context, "buy_and_hold", END, START)
    with pytest.raises(ContractViolation, match="no bar is known"):
        backtest_model(context, "buy_and_hold", END, END + HOUR)
