"""The books of one life: a seeded market, models fitted on its past, and what each of them traded.

The shortcut of the proof is here: features and labels are made once a life, and every book walks all of
its life in one call of the engine. Features and engine are causal, so that is hour by hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.calibration import row_log_loss
from evaluation.comparison.blocks import Instants, Record
from evaluation.comparison.config import ComparisonConfig
from evaluation.forecast import PROBABILITIES
from evaluation.promotion.config import PromotionConfig
from evaluation.records import equity_curve
from features.matrix import build_matrix
from pipelines.ledger import Book
from pipelines.market_simulator import SyntheticMarket
from pipelines.market_simulator.bars import HOUR, Request
from pipelines.market_simulator.clock import milliseconds
from pipelines.prove.leakage import as_bars
from pipelines.tables import BARS
from serving.books import FEATURES_READ, Inputs, build_inputs, place_scores, walk_book
from serving.compiled import Floats
from serving.config import CostConfig, RiskConfig
from serving.market import Filters
from serving.scorer import Scorer, score_after
from serving.state import new_state
from serving.tape import FILLS
from training.config import TrainingConfig
from training.panel import Panel, build_panel, microseconds
from training.walk_forward import fit_span

SYMBOLS = ("ADA/USDT", "BNB/USDT", "BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
FEATURES = (
    *FEATURES_READ, "log_return_24", "scaled_return_72", "scaled_return_168", "taker_imbalance_6",
    "taker_imbalance_24", "taker_imbalance_168", "return_beyond_flow_24_168",
)  # fmt: skip
START = datetime(2025, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)
_VENUE = "binance"
# Before the first training row: the longest lookback of FEATURES, with room.
_WARM_UP = timedelta(days=30)
_SEEDS = 1_000_000


@dataclass(frozen=True)
class LifeConfig:
    """How a life is led.

    Attributes
    ----------
    days, every_days, train_days : int
        Length of a life, days from one challenger to the next, and of what each is fitted on.
    max_challengers, challenger_days
        As in `books`: a challenger without a place never trades.
    comparison, promotion, costs, risk, training, initial_cash
        As in the settings of a home.
    """

    days: int
    every_days: int
    train_days: int
    max_challengers: int
    challenger_days: float
    comparison: ComparisonConfig
    promotion: PromotionConfig
    costs: CostConfig
    risk: RiskConfig
    training: TrainingConfig
    initial_cash: float


@dataclass(frozen=True)
class World:
    """A span of a market with features and labels: all that books are made from.

    Attributes
    ----------
    bars, features : polars.DataFrame
        In the contracts of those tables.
    panel : training.panel.Panel
    symbols : tuple of str
    end : datetime
    filters : mapping, optional
        Of the venue.
    """

    bars: pl.DataFrame
    features: pl.DataFrame
    panel: Panel
    symbols: tuple[str, ...]
    end: datetime
    filters: Mapping[str, Filters] | None = None

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """Key and `outcome`: class number, -1 where there is none."""
        return self.panel.keys.with_columns(outcome=pl.Series(self.panel.outcome))

    def inputs_after(self, start: datetime) -> Inputs:
        """Return what a book that opens at `start` walks."""
        bars = self.bars.filter(pl.col("known_at") > start)
        features = self.features.filter(pl.col("known_at") > start)
        return build_inputs(
            bars,
            features,
            timeframe=STEP,
            symbols=self.symbols,
            first=start + STEP,
            last=self.end,
            filters=self.filters,
        )


@dataclass(frozen=True)
class TradedBook:
    """A book and its whole record.

    Attributes
    ----------
    book : Book
        Not retired: who is, depends on what was decided.
    known_at : array of int64, shape (bars,)
        Microseconds since the epoch, one bar after the other.
    equity : array of float64, shape (bars + 1,)
        The capital first.
    fills : array of int64
        Instants of the fills, in order.
    loss : array of float64, shape (bars, n)
        Log loss of each score [nats], known once its horizon is over; NaN where there is none.
    """

    book: Book
    known_at: Instants
    equity: Floats
    fills: Instants
    loss: Floats

    @property
    def version(self) -> str:
        """The model version."""
        return str(self.book.model_version)

    def record(self, until: int) -> Record:
        """Return what `pipelines.paired_records.book_record` says of a book of full size `until` [us]."""
        traded = int(np.searchsorted(self.known_at, until, side="right"))
        returns = np.diff(np.log(self.equity[: traded + 1]))
        return Record(self.known_at[:traded], returns, self.fills_between(0, until))

    def fills_between(self, start: int, end: int) -> int:
        """Return how many fills there were with `start < known_at <= end` [us]."""
        first, last = np.searchsorted(self.fills, (start, end), side="right")
        return int(last - first)


def world_of(seed: int, number: int, signal: float, config: LifeConfig) -> World:
    """Return the market of life `number` from its first training row to its end.

    The same number is the same noise whatever the signal is.
    """
    end = START + timedelta(days=config.days)
    first = START - timedelta(days=config.train_days) - _WARM_UP
    now = milliseconds(end)
    asked = Request(milliseconds(first), now - 1, 10**6, False, now)
    market = SyntheticMarket(SYMBOLS, seed=seed * _SEEDS + number, signal=signal)
    frames = [
        as_bars(market.bars(item, HOUR, asked), item.symbol, _VENUE, STEP)
        for item in market.instruments
    ]
    bars = pl.concat(frames).sort(BARS.key)
    features = build_matrix(bars, timeframe=STEP, names=FEATURES)
    panel = build_panel(bars, features, config.training.label, timeframe=STEP, end=end)
    return World(bars, features, panel, SYMBOLS, end)


def books_of(seed: int, number: int, signal: float, config: LifeConfig) -> list[TradedBook]:
    """Fit and trade the first champion of a life and all its challengers.

    Every model comes from the same recipe: the span before its book opens, a seed of its own. Where
    there is a signal, the champion was fitted on the same market without it: it cannot know.
    """
    world = world_of(seed, number, signal, config)
    blind = world_of(seed, number, 0.0, config) if signal else world
    books = []
    for place, day in enumerate(range(0, config.days, config.every_days)):
        opened = START + timedelta(days=day)
        panel = (world if place else blind).panel
        scorer = _fitted(panel, opened, number * _SEEDS + place, config)
        books.append(trade(world, scorer, book_named(str(place + 1), opened, config), config))
    return books


def _fitted(panel: Panel, end: datetime, seed: int, config: LifeConfig) -> Scorer:
    search = config.training.search.model_copy(update={"seed": seed % 2**31})
    training = config.training.model_copy(update={"search": search})
    start = end - timedelta(days=config.train_days)
    fitted = fit_span(panel, {}, training, start=start, end=end, feature_set="", name="a life")
    return fitted.scorer


def book_named(version: str, opened: datetime, config: LifeConfig) -> Book:
    """Return the book of a version."""
    cash = Decimal(str(config.initial_cash))
    return Book(UUID(int=int(version)), f"model-{version}", "model", version, opened, cash)


def trade(world: World, scorer: Scorer, book: Book, config: LifeConfig) -> TradedBook:
    """Score and trade all bars after a book was opened, in one walk."""
    inputs = world.inputs_after(book.opened_at)
    scores = score_after(scorer, world.features, book.opened_at)
    capital = float(book.initial_cash)
    walk = walk_book(
        "model",
        inputs,
        place_scores(inputs.panel, scores),
        new_state(len(world.symbols), capital),
        costs=config.costs,
        risk=config.risk,
    )
    first = microseconds(inputs.panel.first)
    bar = STEP // timedelta(microseconds=1)
    filled = walk.tape.fills[: walk.tape.used[FILLS]]["bar"].astype(np.int64)
    return TradedBook(
        book,
        first + bar * np.arange(inputs.panel.bars, dtype=np.int64),
        equity_curve(walk, capital),
        np.sort(first + bar * filled),
        _losses(world, inputs, scores),
    )


def _losses(world: World, inputs: Inputs, scores: pl.DataFrame) -> Floats:
    (outcome,) = inputs.panel.place(world.outcomes, "outcome")
    row, bar, symbol = inputs.panel.locate(scores)
    known: npt.NDArray[np.bool_] = outcome[bar, symbol] >= 0
    row, bar, symbol = row[known], bar[known], symbol[known]
    loss = np.full(outcome.shape, np.nan)
    proba = scores.select(PROBABILITIES).to_numpy()[row]
    loss[bar, symbol] = row_log_loss(proba, outcome[bar, symbol].astype(np.int64))
    return loss
