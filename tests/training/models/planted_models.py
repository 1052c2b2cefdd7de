"""Models and samples whose worth is known, to see what a combination makes of them."""

import sys
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import numpy as np

from serving.observations import Observations
from training.models import MODELS
from training.samples import HorizonLabels, Samples

HOUR = 3_600_000_000


def signal_rows(n=300, symbols=3, seed=7, label_hours=4, flip=()):
    """Hourly rows of some symbols whose first feature tells the class; in `flip` it tells the reverse."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n * symbols, 4)).astype(np.float32)
    symbol = np.repeat(np.arange(symbols), n)
    sign = np.where(np.isin(symbol, flip), -1.0, 1.0)
    y = np.digitize(sign * X[:, 0] + 0.3 * rng.normal(size=len(X)), [-0.5, 0.5])
    bar = np.tile(np.arange(n), symbols)
    names = tuple("ABCDEFGH"[:symbols])
    return Samples(
        observations=Observations(X, names, symbol, bar, np.arange(len(X))),
        y=y,
        realised=(y - 1.0) + 0.1 * rng.normal(size=len(X)),
        weight=np.ones(len(X)),
        known_at=bar * HOUR,
        label_end=(bar + label_hours) * HOUR,
        embargo=timedelta(hours=2),
    )


class Planted:
    """The least that a member must be."""

    name = "planted"
    kind = "planted"
    predictor_kind = "planted"
    context_bars = 1

    def __init__(self, params, *, seed, threads):
        self.params, self.seed, self.threads = params, seed, threads
        self.samples = None

    def prepare(self, samples):
        return samples

    def fit_prepared(self, prepared):
        self.samples = prepared
        return self

    def fit(self, samples):
        return self.fit_prepared(self.prepare(samples))

    def importance(self):
        return np.ones(4) / 4

    @property
    def predictor(self):
        return self

    @staticmethod
    def space(trial):
        return {"depth": trial.suggest_int("depth", 2, 6)}


class Memory(Planted):
    """Knows the rows it was fitted on by heart and nothing else."""

    name = "memory"

    def predict_proba(self, observations):
        learned = self.samples.observations
        known = {
            row.tobytes(): int(y) for row, y in zip(learned.asked, self.samples.y, strict=True)
        }
        seen = [known.get(row.tobytes()) for row in observations.asked]
        sure = 0.01 + 0.97 * np.eye(3)
        return np.array([np.full(3, 1 / 3) if y is None else sure[y] for y in seen]).reshape(-1, 3)


class Reader(Planted):
    """Reads the class from the first feature: right about as often as one can be."""

    name = "reader"

    def importance(self):
        return np.array([0, 1.0, 0, 0])

    def predict_proba(self, observations):
        place = np.digitize(observations.asked[:, 0], [-0.5, 0.5])
        return (0.15 + 0.55 * np.eye(3))[place]


class Noise(Planted):
    """Says something else for every row, without knowing anything."""

    name = "noise"

    def importance(self):
        return np.array([0, 0, 0.5, 0.5])

    def predict_proba(self, observations):
        odds = np.exp(2 * observations.asked[:, 1:4].astype(float))
        return odds / odds.sum(axis=1, keepdims=True)


def plant(monkeypatch, *models):
    """Make models known by their names for the length of a test."""
    for model in models:
        module = ModuleType(f"planted_{model.name}")
        module.MODEL = model
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(MODELS, model.name, module.__name__)


def with_horizon(samples, bars, y, label_hours):
    """Return the samples with labels `y` over `bars` too, that end after `label_hours`."""
    others = {**samples.others, bars: HorizonLabels(y, y - 1.0)}
    ends = np.maximum(samples.label_end, samples.known_at + label_hours * HOUR)
    return replace(samples, others=others, label_end=ends)
