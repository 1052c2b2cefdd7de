"""A home with a small market and its features, on a real PostgreSQL, trained once for many tests."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from evaluation.drift.histograms import bin_edges
from evaluation.drift.pulse import fit_pulse
from evaluation.drift.reference import Reference
from features.matrix import build_matrix
from pipelines import database
from pipelines.context import Context, StepReport
from pipelines.settings import Settings, load_settings
from pipelines.steps.train import train
from pipelines.tables import BARS, features_table
from pipelines.tracking.drift_reference import bars_of, read_drift_reference
from pipelines.tracking.registry import VersionInfo

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=30)
LATEST = AS_OF + timedelta(days=2)
NAMES = [
    "realised_vol_72", "atr_14", "ema_gap_24_96", "btc_correlation_168", "vol_ratio_24_168",
]  # fmt: skip
SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT")
OVERRIDES: dict[str, Any] = {
    "universe": list(SYMBOLS),
    "training.threads": 1,
    "training.sample_every_bars": 2,
    "training.label.horizon_bars": 12,
    "training.label.volatility_window": 24,
    "training.split.windows": 2,
    "training.split.test_days": 4,
    "training.split.train_days": 20,
    "training.split.inner_folds": 2,
    "training.split.embargo_bars": 6,
    "training.search.trials": 4,
    "drift.window_hours": 21,
    "training.model_params": {"rounds": 20, "min_child_weight": 5.0, "learning_rate": 0.15},
}


def market(seed: int = 7) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = (LATEST - START) // HOUR
    frames = []
    for place, symbol in enumerate(SYMBOLS):
        drift = 0.004 * np.sin(2 * np.pi * (np.arange(n) / 240 + place / 3))
        close = 100 * np.exp(np.cumsum(drift + rng.normal(0, 0.006, n)))
        opened = np.concatenate([[100.0], close[:-1]])
        volume = rng.lognormal(10, 0.5, n)
        known_at = pl.datetime_range(
            START + HOUR, LATEST, HOUR, time_zone="UTC", time_unit="us", eager=True
        )
        frames.append(
            pl.DataFrame(
                {
                    "venue": ["binance"] * n,
                    "symbol": [symbol] * n,
                    "known_at": known_at,
                    "open_time": known_at - HOUR,
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.001,
                    "low": np.minimum(opened, close) / 1.001,
                    "close": close,
                    "volume": volume,
                    "quote_volume": volume * close,
                    "trades": rng.integers(50, 500, n),
                    "taker_buy_volume": volume / 2,
                    "ingested_at": known_at,
                }
            )
        )
    return pl.concat(frames).select(list(BARS.schema)).cast(dict(BARS.schema))


@dataclass(frozen=True)
class World:
    """A home, and the names of its databases on the tests' server."""

    settings: Settings
    names: tuple[str, ...]

    def open(self, **overrides: Any) -> Context:
        """Open the home as a process of its own would, with settings of its own."""
        keys = {name.replace("__", "."): value for name, value in overrides.items()}
        base = {"home": str(self.settings.home), "database_url": self.settings.database_url}
        context = Context(load_settings({**OVERRIDES, **base, **keys}, environ={}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "DATABASES", self.names)
            assert context.databases
        return context


def fill(context: Context, end: datetime) -> None:
    """Make bars and features stand in the lake up to `end`."""
    bars = market().filter(pl.col("known_at") <= end)
    features = build_matrix(bars, timeframe=HOUR, names=NAMES)
    context.lake.replace(BARS, bars, start=START, end=end)
    context.lake.replace(features_table(NAMES), features, start=START, end=end)
    context.lake.set_metadata("features", {"feature_set": "set-1"})


@contextmanager
def new_world(postgres: str, home: Path) -> Iterator[World]:
    """Offer an empty home with databases of its own, dropped at the end."""
    suffix = uuid.uuid4().hex[:10]
    names = tuple(f"{name}_{suffix}" for name in database.DATABASES)
    keys = {**OVERRIDES, "home": str(home), "database_url": postgres}
    yield World(load_settings(keys, environ={}), names)
    server = make_url(postgres).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for name in names:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture
def world(postgres: str, home: Path) -> Iterator[World]:
    """A home with bars and features up to AS_OF, and nothing trained."""
    with new_world(postgres, home) as made:
        with made.open() as context:
            fill(context, AS_OF)
        yield made


@pytest.fixture(scope="session")
def trained(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, StepReport]]:
    """A home that was trained as of AS_OF, and what the training reported. Tests leave it as it is."""
    with new_world(postgres, tmp_path_factory.mktemp("trained")) as made:
        with made.open() as context:
            fill(context, AS_OF)
            report = train(context, AS_OF)
            fill(context, LATEST)
        yield made, report


@pytest.fixture(scope="module")
def watched(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, StepReport]]:
    """A trained home of the module's own, whose run its tests may log to."""
    with new_world(postgres, tmp_path_factory.mktemp("watched")) as made:
        with made.open() as context:
            fill(context, AS_OF)
            report = train(context, AS_OF)
            fill(context, LATEST)
        yield made, report


@pytest.fixture
def state() -> Callable[[Context], dict[str, Any]]:
    """`state(context)`: runs, models, versions, books and scores, without ids and stamps."""
    return read_state


def read_state(context: Context) -> dict[str, Any]:
    registry = context.registry
    client = registry.tracking.client
    runs = client.search_runs([registry.tracking.experiment_id], max_results=1000)
    scores = context.lake.read("out_of_fold_scores", end=LATEST)
    return {
        "runs": sorted(
            (
                run.info.run_name,
                run.info.status,
                sorted(run.data.metrics.items()),
                sorted(run.data.params.items()),
            )
            for run in runs
        ),
        "models": len(registry._models(context_training(runs))),
        "versions": [(v.version, v.training_id, v.scorer_hash) for v in registry.versions()],
        "books": [(b.name, b.opened_at, b.retired_at) for b in context.ledger.books()],
        "promotions": [(p.version, p.effective_from) for p in context.ledger.promotions()],
        "scores": scores.hash_rows().sum(),
    }


def context_training(runs: Any) -> str:
    return next(r.data.tags["training_id"] for r in runs if r.data.tags["kind"] == "training")


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the champion's reference the pulse that a training of sixty days would have had.

    The worlds of these tests hold thirty days, which the pulse refuses; here eight hours are a day.
    """

    def read(context: Context, info: VersionInfo) -> Reference:
        reference = read_drift_reference(context, info)
        features = context.lake.read("features", end=AS_OF).sort("known_at", "symbol")
        X = features.select(NAMES).to_numpy().astype(np.float32)
        pulse = fit_pulse(tuple(NAMES), X, bars_of(features, HOUR), bin_edges(X)[0], bars_per_day=8)
        return replace(reference, pulse=pulse)

    monkeypatch.setattr("pipelines.steps.pulse_drift.read_drift_reference", read)


@pytest.fixture
def move_all() -> Callable[[Context, datetime, datetime], None]:
    """`move_all(context, start, end)`: every feature, after `start` up to `end`, where it never was."""

    def move(context: Context, start: datetime, end: datetime) -> None:
        features = context.lake.read("features", start=start, end=end)
        moved = features.with_columns(pl.col(NAMES) + pl.lit(99, pl.Float32))
        context.lake.replace(features_table(NAMES), moved, start=start, end=end)

    return move
