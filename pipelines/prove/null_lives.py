"""Lives: how they are led under a home's settings, one by one or in several processes."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from pipelines.prove.null_books import LifeConfig, books_of
from pipelines.prove.null_looks import LIVE_GATES
from pipelines.prove.null_reigns import Course, live
from pipelines.settings import Settings
from serving.config import CostConfig
from training.config import (
    ImportanceConfig,
    NullConfig,
    SelectionConfig,
    SplitConfig,
    TrainingConfig,
)

BOOKS = 6
"""Of a life, the first champion's included; they open at even distances."""

FEWEST_DAYS = 30
NO_COSTS = CostConfig(
    maker_fee_rate=0.0,
    taker_fee_rate=0.0,
    spread_rate=0.0,
    slippage_model="fixed",
    slippage_rate=0.0,
)
NO_STOPS = {"stop_atr_multiple": 1e3, "risk_per_trade": 1.0, "max_portfolio_heat": 1e6}


@dataclass(frozen=True)
class Life:
    """One life: what happened, how much was traded, and the processor time it took [s].

    `fills_a_day` is the mean over its books.
    """

    number: int
    signal: float
    course: Course
    fills_a_day: float
    seconds: float


def life_config(settings: Settings, days: int) -> LifeConfig:
    """Return how lives are led under `settings`: their rules of evidence, books without costs.

    Of the required gates those remain that a record by itself can show; the others can only refuse
    more. The capital ramp is off: a comparison divides by its share, so it changes no evidence.
    """
    required = tuple(gate for gate in settings.promotion.required if gate in LIVE_GATES)
    train_days = max(round(settings.training.split.train_days), FEWEST_DAYS)
    return LifeConfig(
        days=days,
        every_days=max(days // BOOKS, 1),
        train_days=train_days,
        max_challengers=settings.books.max_challengers,
        challenger_days=settings.books.challenger_days,
        comparison=settings.comparison,
        promotion=settings.promotion.model_copy(update={"required": required}),
        costs=NO_COSTS,
        risk=settings.risk.model_copy(
            update={"ramp_start": 1.0, "allocation": "kelly", "allow_shorts": False, **NO_STOPS}
        ),
        training=TrainingConfig(
            model="xgboost",
            model_params={"rounds": 20},
            threads=1,
            calibration="none",
            split=SplitConfig(inner_folds=2, train_days=train_days),
            nulls=NullConfig(enabled=False),
            selection=SelectionConfig(method="none"),
            importance=ImportanceConfig(columns=0),
        ),
        initial_cash=settings.books.initial_cash,
    )


def lead(seed: int, config: LifeConfig, job: tuple[int, float]) -> Life:
    """Lead life (number, signal): a function of nothing else."""
    began = time.process_time()
    number, signal = job
    books = books_of(seed, number, signal, config)
    course = live(books, config)
    days = sum(book.known_at.size for book in books) / 24.0
    fills = sum(book.fills.size for book in books) / days
    return Life(number, signal, course, fills, time.process_time() - began)


def led(
    seed: int, config: LifeConfig, jobs: Sequence[tuple[int, float]], workers: int | None
) -> Iterator[Life]:
    """Yield the lives (number, signal) in the order of `jobs`, whoever finishes first.

    Parameters
    ----------
    workers : int, optional
        Processes; by default one a processor.
    """
    work = partial(lead, seed, config)
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 1:
        yield from map(work, jobs)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_watch_parent) as pool:
        yield from pool.map(work, jobs)


def _watch_parent() -> None:
    """End with the process that asked, however it ends."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
