"""Scores whose truth is known: outcomes are drawn from the probabilities themselves."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

START = datetime(2024, 1, 1, tzinfo=UTC)


def draw(rows: int, *, boldness: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Scores whose log odds are `boldness` times those that the outcomes are drawn from."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([3.0, 4.0, 3.0], rows)
    outcome = (rng.random((rows, 1)) > truth.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    said = truth**boldness
    said /= said.sum(axis=1, keepdims=True)
    realised = (outcome - 1) * 0.02 + 0.005 * rng.normal(size=rows)
    expected = (said[:, 2] - said[:, 0]) * 0.02
    return pl.DataFrame(
        {
            "venue": "binance",
            "symbol": np.where(np.arange(rows) % 2, "A/USDT", "B/USDT"),
            "known_at": [START + (i // 2) * timedelta(hours=1) for i in range(rows)],
            "p_down": said[:, 0],
            "p_flat": said[:, 1],
            "p_up": said[:, 2],
            "expected_return": expected,
            "lower": expected - 0.03,
            "upper": expected + 0.03,
            "outcome": outcome,
            "realised_return": realised,
        }
    )


@pytest.fixture(scope="session")
def honest() -> pl.DataFrame:
    return draw(6000)


@pytest.fixture(scope="session")
def bold() -> pl.DataFrame:
    return draw(6000, boldness=3.0)


@pytest.fixture(scope="session")
def unknown(honest: pl.DataFrame) -> pl.DataFrame:
    return honest.with_columns(outcome=pl.lit(None, pl.Int64))
