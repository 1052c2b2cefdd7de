"""Books that trade a lively market hour by hour; imported by tests through the fixture `lively`.

Run as a script (`lively_books.py URL BOOK LAST`) it is a second scheduler by mistake: it trades every
hour of the book that nobody has traded yet, up to hour LAST.
"""

import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipelines.ledger import Book, Ledger
from pipelines.ledger.controls import controls_of
from pipelines.ledger.rows import BookHour
from serving.books import Scores, build_inputs, walk_book
from serving.config import CostConfig, RiskConfig
from serving.controls import Controls
from serving.state import State, new_state, state_from_json

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, tzinfo=UTC)
SPOT = ("BTC/USDT", "ETH/USDT")
PERPETUALS = ("BTC/USDT:USDT", "ETH/USDT:USDT")
OPENING = {"initial_cash": 100_000.0, "reason": "registered", "decided_by": "register"}


def open_model(ledger: Ledger, version: str = "1", opened_at: datetime = START) -> Book:
    """Open the book of a model."""
    return ledger.open_book(
        f"model-{version}",
        strategy="model",
        model_version=version,
        opened_at=opened_at,
        **OPENING,
    )


def walk_hour(
    book: Book,
    hour: int,
    state: State,
    *,
    seed: int = 3,
    funding_rate: float = 0.0,
    symbols: tuple[str, ...] = SPOT,
    controls: Controls | None = None,
) -> BookHour:
    """Walk one hour of a book in a market that moves 2 % an hour; `state` is changed in place.

    Perpetuals may be sold short.
    """
    rng = np.random.default_rng([seed, hour])
    known_at = START + hour * HOUR
    price = np.array([60_000.0, 3_000.0]) * np.exp(rng.normal(0, 0.02, 2))
    bars = pl.DataFrame(
        {
            "venue": "binance",
            "symbol": symbols,
            "known_at": known_at,
            "open": price,
            "high": price * 1.01,
            "low": price * 0.985,
            "close": price * 0.997,
            "volume": 1e8 / price,
        }
    )
    features = bars.select("symbol", "known_at").with_columns(
        realised_vol_72=pl.lit(0.007), atr_14=pl.lit(0.01), ema_gap_24_96=pl.lit(0.01),
        btc_correlation_168=pl.lit(0.5), vol_ratio_24_168=pl.lit(0.0),
    )  # fmt: skip
    funding = bars.select("symbol", "known_at", funding_rate=pl.lit(funding_rate))
    inputs = build_inputs(bars, features, timeframe=HOUR, funding=funding)
    mean = 0.01 if symbols == SPOT else 0.0
    scores = Scores(rng.normal(mean, 0.03, (1, 2)), 24)
    risk = RiskConfig(allow_shorts=symbols != SPOT, stop_cooldown_bars=2)
    walk = walk_book(
        "model", inputs, scores, state, costs=CostConfig(), risk=risk, controls=controls
    )
    return BookHour(
        book.book_id, book.name, known_at, walk, book.initial_cash if hour == 1 else None
    )


def trade(
    ledger: Ledger,
    book: Book,
    first: int,
    last: int,
    *,
    symbols: tuple[str, ...] = SPOT,
    funding_rate: float = 0.0,
) -> int:
    """Trade the hours of a book that were not traded yet, as it was told to; return how many."""
    traded = 0
    for hour in range(first, last + 1):
        with ledger.hour() as transaction:
            standing = next(s for s in transaction.standings() if s.book == book)
            if standing.walked_to != START + (hour - 1) * HOUR:
                continue
            transaction.check([standing])
            state = (
                new_state(len(symbols), book.initial_cash)
                if standing.state is None
                else state_from_json(standing.state, symbols)
            )
            controls = controls_of(standing.controls, [START + hour * HOUR], standing.promoted)
            walked = walk_hour(
                book, hour, state, symbols=symbols, funding_rate=funding_rate, controls=controls
            )
            transaction.write([walked])
            traded += 1
    return traded


if __name__ == "__main__":
    url, name, last = sys.argv[1:]
    own = Ledger(url)
    mine = next(book for book in own.books() if book.name == name)
    print(trade(own, mine, 1, int(last)))
    own.close()
