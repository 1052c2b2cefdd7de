"""How long every model takes to fit and to predict at its default size. Prints; asserts nothing.

Fits one bar in six of ten real pairs from 2021 on, and predicts every bar, where the real bars are beside the repository, and
noise of the same size where they are not. Names of models as arguments measure these alone.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
from bench_features import REAL, whole_market

from features.matrix import build_matrix
from serving.observations import Observations
from serving.predictors import load_predictor
from training.config import LabelConfig
from training.models import MODELS, model_class
from training.panel import build_panel
from training.samples import HorizonLabels, Samples

HOUR = timedelta(hours=1)
EVERY = 6
THREADS = 2
ROWS, COLUMNS = 60_000, 365

T = TypeVar("T")


def real_samples() -> Samples:
    """Return one labelled row in six of the real pairs, with all features."""
    bars, label = whole_market(), LabelConfig(extra_horizons=(8,))
    features, end = build_matrix(bars, timeframe=HOUR), bars["known_at"].max()
    panel = build_panel(bars, features, label, timeframe=HOUR, end=end)
    return panel.samples(np.flatnonzero(panel.labelled), every=EVERY, embargo_bars=24)


def random_samples() -> Samples:
    """Return noise of ten symbols with a little signal in its first column."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    y = np.digitize(0.3 * X[:, 0] + rng.normal(size=ROWS), [-0.6, 0.6])
    bar = np.tile(np.arange(ROWS // 10) * EVERY, 10)
    known_at, symbol = bar * 3_600_000_000, np.repeat(np.arange(10), ROWS // 10)
    names = tuple(f"S{place}" for place in range(10))
    return Samples(
        observations=Observations(X, names, symbol, bar, np.arange(ROWS)),
        y=y,
        realised=(y - 1).astype(float),
        weight=np.ones(ROWS),
        known_at=known_at,
        label_end=known_at + 24 * 3_600_000_000,
        embargo=24 * HOUR,
        others={8: HorizonLabels(y, (y - 1).astype(float))},
    )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what `work` returns and the seconds it took."""
    begin = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - begin


def measure(name: str, samples: Samples) -> None:
    """Print one line of a model."""
    kind = model_class(name)
    model = kind({}, seed=7, threads=THREADS)
    prepared, preparing = timed(lambda: model.prepare(samples))
    _, fitting = timed(lambda: model.fit_prepared(prepared))
    asked = samples.observations
    every, hour = asked.of(np.arange(len(asked.X))), asked.of(asked.rows[-20:])
    with tempfile.TemporaryDirectory() as folder:
        model.predictor.save(Path(folder))
        predictor = load_predictor(kind.predictor_kind, Path(folder))
        predictor.predict_proba(hour)
        _, bulk = timed(lambda: predictor.predict_proba(every))
        _, scoring = timed(
            lambda: load_predictor(kind.predictor_kind, Path(folder)).predict_proba(hour)
        )
    print(
        f"{name:14} prepare {preparing:6.2f} s  fit {fitting:6.2f} s  "
        f"bulk {every.rows.size / bulk:9,.0f} rows/s  load and 20 rows {scoring * 1e3:7.1f} ms",
        flush=True,
    )


def main() -> None:
    """Measure every registered model."""
    samples = real_samples() if REAL.is_dir() else random_samples()
    n, k = samples.observations.rows.size, samples.observations.X.shape[1]
    print(f"{n:,} rows x {k} columns, {'real' if REAL.is_dir() else 'random'}, {THREADS} threads")
    for name in sys.argv[1:] or MODELS:
        measure(name, samples)


if __name__ == "__main__":
    main()
