"""Books whose every bar is known, compared."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from pipelines.cli import main
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.ledger import Book
from pipelines.ledger.schema import book_events, equity, fills, orders
from pipelines.ledger.shadows import Shadow
from pipelines.paired_records import followers_of, rivals_of
from pipelines.report import render_report
from pipelines.settings import load_settings
from pipelines.steps.compare_models import compare_models
from pipelines.tables import BARS, SCORES
from serving.state import new_state, state_to_json
from training.labels import label_bars

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 3, tzinfo=UTC)
DAYS = 10
END = START + DAYS * 24 * HOUR
KEYS = {
    "comparison.block_hours": "3",
    "comparison.scale_blocks": "2",
    "comparison.minimum_blocks": "4",
    "comparison.loss_block_hours": "4",
    "comparison.bootstrap_paths": "100",
}
Paper = Callable[..., Book]
_FLAT = state_to_json(new_state(0, Decimal(100_000)), ())


@pytest.fixture
def context(home: Path, postgres: str, ledger_url: str) -> Iterator[Context]:
    assert ledger_url
    keys = {"home": str(home), "database_url": postgres, **KEYS}
    with Context(load_settings(keys, environ={})) as context:
        yield context


@pytest.fixture
def write(ledger_url: str) -> Iterator[Callable[[sa.Table, list[dict[str, Any]]], None]]:
    """`write(table, rows)`: rows as they are, past the engine."""
    engine = sa.create_engine(ledger_url, poolclass=sa.NullPool)

    def insert(table: sa.Table, rows: list[dict[str, Any]]) -> None:
        with engine.begin() as connection:
            connection.execute(sa.insert(table), rows)

    yield insert
    engine.dispose()


@pytest.fixture
def paper(context: Context, write: Callable[..., None]) -> Paper:
    """`paper(version, returns, ...)`: a book that earned these log returns since it was opened."""

    def trade(
        version: str,
        returns: np.ndarray,
        *,
        opened_at: datetime = START,
        trades: bool = True,
        ramp: tuple[float, np.ndarray] | None = None,
    ) -> Book:
        book = context.ledger.open_book(
            f"model-{version}",
            strategy="model",
            model_version=version,
            opened_at=opened_at,
            initial_cash=100_000.0,
            reason="registered",
            decided_by="register",
        )
        if returns.size:
            write(equity, _hours(book, returns, ramp and ramp[1]))
        if ramp:
            write(book_events, [_terms(book, ramp[0])])
        if trades:
            _fill(book, write)
        return book

    return trade


def _hours(book: Book, returns: np.ndarray, steps: np.ndarray | None) -> list[dict[str, Any]]:
    levels = 100_000.0 * np.exp(np.cumsum(returns))
    climbed = np.zeros(returns.size) if steps is None else steps
    return [
        {
            "book_id": book.book_id,
            "known_at": book.opened_at + (i + 1) * HOUR,
            "equity": Decimal(f"{level:.8f}"),
            "cash": Decimal(f"{level:.8f}"),
            "exposure": Decimal(0),
            "peak": Decimal(f"{levels[: i + 1].max():.8f}"),
            "drawdown": 0.0,
            "state": _FLAT | {"conduct": _FLAT["conduct"] | {"ramp_steps": int(climbed[i])}},
        }
        for i, level in enumerate(levels)
    ]


def _terms(book: Book, ramp_start: float) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "book_id": book.book_id,
        "effective_from": book.opened_at + HOUR,
        "kind": "terms",
        "detail": {"risk": {"ramp_start": ramp_start, "ramp_step": 0.25}},
        "reason": "first trade",
        "decided_by": "trade_paper",
    }


def _fill(book: Book, write: Callable[..., None]) -> None:
    amounts = dict.fromkeys(("notional", "fee", "realised"), Decimal(1))
    shared = {
        "order_id": uuid4(),
        "book_id": book.book_id,
        "symbol": "BTC/USDT",
        "known_at": book.opened_at + HOUR,
        "kind": "market",
        "side": "buy",
        "quantity": Decimal(1),
        "reference_price": 1.0,
    }
    asked = {"valid_until": book.opened_at + HOUR, "stop_distance": 0.0, "target_weight": 0.1}
    write(orders, [shared | asked])
    write(fills, [shared | amounts | {"fill_id": uuid4(), "price": 1.0}])


def noise(seed: int, mean: float = 0.0, hours: int = 24 * DAYS) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.002, hours)


def crown(context: Context, version: str, at: datetime = START) -> None:
    kind = "hand" if context.ledger.promotions() else "first"
    context.ledger.promote(version, effective_from=at, kind=kind, reason="r", decided_by="test")


def rows(context: Context, as_of: datetime = END) -> dict[tuple[str, str], dict[str, Any]]:
    frame = context.lake.read("comparisons", start=as_of - HOUR, end=as_of)
    return {(row["challenger"], row["measure"]): row for row in frame.iter_rows(named=True)}


def test_a_challenger_that_earns_more_is_better_and_one_that_earns_the_same_is_not(
    context: Context, paper: Paper
) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2, mean=0.004))
    paper("3", noise(3))
    report = compare_models(context, END)
    assert report.changed
    assert report.detail["champion"] == "1"
    found = rows(context)
    better, same = found["2", "net_return"], found["3", "net_return"]
    assert (better["verdict"], better["champion"], better["since"]) == ("better", "1", START)
    assert (better["bars"], better["blocks"], better["level"]) == (240, 80, 0.025)
    # The means are 0.4 % an hour apart, give or take the noise of 240 hours.
    assert better["mean_difference"] == pytest.approx(0.004 * 8_760, rel=0.1)
    assert 0 < better["lower"] < better["mean_difference"] < better["upper"]
    assert better["e_value"] >= 2 / 0.025
    assert (same["verdict"], same["level"]) == ("undecided", pytest.approx(0.05 / 6))
    assert same["days_at_declared"] > 365
    assert found["2", "log_loss"]["verdict"] == "not_comparable"
    assert "scored no instant" in found["2", "log_loss"]["reason"]


def test_running_it_twice_is_running_it_once(context: Context, paper: Paper) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2))
    compare_models(context, END)
    version = context.lake.version("comparisons")
    assert not compare_models(context, END).changed
    assert context.lake.version("comparisons") == version


def test_what_came_later_does_not_reach_an_earlier_look(context: Context, paper: Paper) -> None:
    early = START + 60 * HOUR
    crown(context, "1")
    crown(context, "2", early + HOUR)
    paper("1", noise(1))
    paper("2", noise(2, mean=0.01))
    paper("4", noise(4), opened_at=early)
    compare_models(context, early)
    (row,) = (row for (_, measure), row in rows(context, early).items() if measure == "net_return")
    assert (row["champion"], row["challenger"], row["bars"], row["blocks"]) == ("1", "2", 60, 20)


def test_a_young_book_is_compared_as_if_it_had_its_full_size(
    context: Context, paper: Paper
) -> None:
    earned = noise(1, mean=0.001)
    # Half the size for 100 hours, and three quarters from the order decided at the 100th close on.
    steps = np.where(np.arange(240) >= 99, 1, 0)
    shares = np.concatenate([[1.0], 0.5 + 0.25 * steps[:-1]])
    crown(context, "1")
    paper("1", earned)
    paper("2", earned * shares, ramp=(0.5, steps))
    compare_models(context, END)
    row = rows(context)["2", "net_return"]
    assert row["mean_difference"] == pytest.approx(0.0, abs=1e-6)
    returns, fills = context.ledger.returns("model-2", END)
    np.testing.assert_array_equal(returns["share"], shares)
    np.testing.assert_allclose(returns["log_return"], earned * shares, atol=1e-12)
    assert fills == 1


def test_books_that_cannot_be_compared_get_a_row_that_says_why(
    context: Context, paper: Paper
) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2), trades=False)
    paper("3", np.empty(0), opened_at=END - HOUR)
    paper("4", noise(4, hours=10), opened_at=END - 10 * HOUR)
    compare_models(context, END)
    found = rows(context)
    reasons = {v: found[v, "net_return"]["reason"] for v in "234"}
    assert reasons["2"] == "the challenger's book has no trades"
    assert reasons["3"] == "the challenger has no record since the comparison began"
    assert reasons["4"].startswith("too few bars: 10 in common make 3 complete blocks of the 4")
    assert {row["verdict"] for row in found.values()} == {"not_comparable"}
    assert found["3", "net_return"]["minimum_detectable_90d"] > 0
    assert found["3", "net_return"]["mean_difference"] is None


def test_a_champion_without_a_book_is_a_reason_too(context: Context, paper: Paper) -> None:
    crown(context, "1")
    paper("2", noise(2))
    compare_models(context, END)
    assert rows(context)["2", "net_return"]["reason"].startswith("the champion has no record")


def test_a_new_champion_is_compared_from_its_first_hour_on_also_with_the_one_before(
    context: Context, paper: Paper
) -> None:
    crowned = START + 120 * HOUR
    crown(context, "1")
    crown(context, "2", crowned)
    paper("1", noise(1))
    paper("2", noise(2))
    compare_models(context, END)
    assert set(rows(context)) == {("1", "net_return"), ("1", "log_loss")}
    row = rows(context)["1", "net_return"]
    assert (row["champion"], row["since"], row["bars"], row["blocks"]) == ("2", crowned, 120, 40)


def test_a_challenger_that_left_keeps_its_number_and_gets_no_row(
    context: Context, paper: Paper
) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2))
    paper("3", noise(3))
    context.ledger.retire_book("model-2", at=END - HOUR, reason="the oldest", decided_by="register")
    compare_models(context, END)
    assert {challenger for challenger, _ in rows(context)} == {"3"}
    assert rows(context)["3", "net_return"]["level"] == pytest.approx(0.05 / 6)
    (rival,) = rivals_of(context.ledger.books(), context.ledger.promotions()[0], END)
    assert (rival.arrival, rival.met) == (2, 2)


def test_challengers_of_one_instant_are_numbered_as_they_were_registered(
    context: Context, paper: Paper
) -> None:
    crown(context, "1")
    for version in ("10", "9", "2"):
        paper(version, noise(2))
    found = rivals_of(context.ledger.books(), context.ledger.promotions()[0], END)
    assert [(r.book.model_version, r.arrival, r.met) for r in found] == [
        ("2", 1, 3), ("9", 2, 3), ("10", 3, 3),
    ]  # fmt: skip


def test_a_shadow_that_comes_back_is_not_counted_as_one_of_the_reign(
    context: Context, paper: Paper
) -> None:
    crown(context, "5", START + 5 * HOUR)
    reign = context.ledger.promotions()[0]
    past = [Shadow(str(n), START + n * HOUR, "no place", "register") for n in (1, 2, 7)]
    books = [paper("7", noise(7), opened_at=START + 8 * HOUR)]
    assert [f.version for f in followers_of(past, books, reign, START + 8 * HOUR, 1)] == ["7"]
    assert followers_of(past, books, reign, END, 1) == [("2", reign.effective_from, 1)]
    assert followers_of(past, books, reign, END, 2) == [
        ("1", reign.effective_from, 1), ("2", reign.effective_from, 2),
    ]  # fmt: skip
    books = [paper("2", noise(2), opened_at=START + 8 * HOUR)]
    assert followers_of(past[:2], books, reign, END, 1) == []


def test_before_there_is_a_champion_nothing_is_compared(context: Context, paper: Paper) -> None:
    paper("2", noise(2))
    report = compare_models(context, END)
    assert (report.changed, report.detail["note"]) == (False, "no model is champion yet")
    with pytest.raises(ConfigError, match="off the 1h grid"):
        compare_models(context, END + timedelta(minutes=1))


def test_the_one_that_foresees_what_happens_has_the_smaller_log_loss(
    context: Context, paper: Paper, random_bars: Callable[..., pl.DataFrame]
) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2))
    first = START - 100 * HOUR
    bars = random_bars(["BTC/USDT", "ETH/USDT"], start=first, hours=100 + 24 * DAYS)
    context.lake.replace(BARS, bars, start=first, end=END)
    label = context.settings.training.label.at_horizon(1)
    truth = label_bars(bars, label, timeframe=HOUR, end=END)
    truth = truth.filter(pl.col("known_at") > START)
    knows = 0.2 + 0.4 * np.eye(3)[truth["label"].fill_null(0).to_numpy() + 1]
    scores = [_scores(truth, "1", np.full((truth.height, 3), 1 / 3)), _scores(truth, "2", knows)]
    context.lake.replace(SCORES, pl.concat(scores), start=START, end=END)
    compare_models(context, END)
    row = rows(context)["2", "log_loss"]
    # Where the outcome is known the loss falls from log 3 to -log 0.6.
    assert row["mean_difference"] == pytest.approx(np.log(3) + np.log(0.6), rel=1e-9)
    assert row["verdict"] == "better"
    # Blocks of four hours; the outcome of the last hour is not known yet.
    assert (row["bars"], row["blocks"]) == (239, 60)


def _scores(truth: pl.DataFrame, version: str, proba: np.ndarray) -> pl.DataFrame:
    said = {name: proba[:, k] for k, name in enumerate(("p_down", "p_flat", "p_up"))}
    expected = {"expected_return": 0.0, "lower": -0.01, "upper": 0.01, "horizon_bars": 1}
    return (
        truth.select("venue", "symbol", "known_at")
        .with_columns(**{name: pl.Series(values) for name, values in said.items()})
        .with_columns(model_version=pl.lit(version), **{k: pl.lit(v) for k, v in expected.items()})
        .select(*SCORES.schema)
        .cast(dict(SCORES.schema))
    )


def test_the_daily_page_draws_the_sequence_of_every_pair(context: Context, paper: Paper) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2))
    for day in (8, 9, 10):
        compare_models(context, START + day * 24 * HOUR)
    page = render_report(context, END)
    section = page.split("<h2>Challengers against the champion</h2>")[1].split("</table>")[0]
    assert section.count("<polygon") == 1
    (points,) = [part.split('"')[0] for part in section.split('polygon points="')[1:]]
    assert len(points.split()) == 6
    assert "undecided" in section
    assert "not comparable" in section


def test_the_verbs_compare_and_show_what_was_found(
    context: Context,
    paper: Paper,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    crown(context, "1")
    paper("1", noise(1))
    paper("2", noise(2))
    monkeypatch.setenv("HOURGLASS_HOME", str(context.settings.home))
    monkeypatch.setenv("HOURGLASS_DATABASE_URL", str(context.settings.database_url))
    for key, value in KEYS.items():
        monkeypatch.setenv("HOURGLASS_" + key.upper().replace(".", "__"), value)

    def call(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        assert left.value.code == 0
        return capfd.readouterr().out

    assert json.loads(call("comparisons", "--json")) == []
    told = json.loads(call("compare-models", "--as-of", END.isoformat(), "--json"))
    assert told["detail"]["comparisons"] == 2
    listed = json.loads(call("comparisons", "--json"))
    assert [row["measure"] for row in listed] == ["net_return", "log_loss"]
    assert listed[0]["known_at"] == "2024-06-13T00:00Z"
    assert json.loads(call("comparisons", "--as-of", START.isoformat(), "--json")) == []
    shown = call("comparisons")
    assert "undecided" in shown
    assert "a verdict takes 80" in shown
