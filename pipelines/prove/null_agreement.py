"""A life of the pipeline and the same life in one go, side by side."""

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from features.matrix import build_matrix
from pipelines.context import Context
from pipelines.ledger.terms import known_filters, traded_symbols
from pipelines.prove.null_books import START, STEP, LifeConfig, TradedBook, World, trade
from pipelines.prove.null_looks import LIVE_GATES, Look
from pipelines.prove.null_reigns import Reigns
from pipelines.steps.build_features import feature_names
from pipelines.tables import COMPARISONS, PROMOTION_GATES
from training.panel import build_panel

EQUITY_TOLERANCE = 1e-8
RELATIVE_TOLERANCE = 1e-9
_DAY = timedelta(days=1)
_COMPARED = {
    "values": "bars",
    "blocks": "blocks",
    "verdict": "verdict",
    "level": "level",
    "mean_difference": "mean_difference",
    "lower": "lower",
    "upper": "upper",
    "e_better": "e_value",
    "e_worse": "e_value_worse",
    "p_bootstrap": "p_bootstrap",
}


@dataclass
class Agreement:
    """What both ways say of one life, and where they differ.

    Attributes
    ----------
    hours, equity_points, comparisons, gates : int
        Of each that were laid side by side.
    promotions : list of (day, version)
        By the pipeline.
    largest_difference : float
        Of any equity [quote].
    differences : list of str
        Empty where both ways agree.
    """

    hours: int = 0
    equity_points: int = 0
    comparisons: int = 0
    gates: int = 0
    promotions: list[tuple[int, str]] = field(default_factory=list)
    largest_difference: float = 0.0
    differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether both ways agree."""
        return not self.differences


def lay_beside(own: Context, config: LifeConfig, first: datetime, end: datetime) -> Agreement:
    """Lead the life that stands in a lake and a ledger in one go, and note every difference.

    Parameters
    ----------
    own : Context
        Traded, compared and decided up to `end`.
    config : LifeConfig
        Its settings.
    first, end : datetime
        Bars known after `first` are read: lookbacks and labels.
    """
    world = _world_of(own, config, first, end)
    standing = [book for book in own.ledger.books() if book.model_version is not None]
    books = [
        trade(
            world,
            own.registry.load(str(book.model_version)),
            replace(book, retired_at=None),
            config,
        )
        for book in standing
    ]
    found = Agreement(hours=config.days * 24)
    for book, kept in zip(books, standing, strict=True):
        _compare_equity(own, book, kept.retired_at or end, found)
    reigns, promotions = Reigns(books, config), []
    for day in range(1, config.days + 1):
        as_of = START + day * _DAY
        reigns.admit(as_of)
        champion = reigns.reign.version
        for rival in reigns.rivals(as_of):
            _compare_look(own, champion, reigns.look(rival, as_of), as_of, found)
        chosen = reigns.decide(as_of)
        if chosen is not None:
            promotions.append((day, chosen.version))
    found.promotions = [
        ((made.effective_from - START) // _DAY, made.version)
        for made in own.ledger.promotions()[1:]
    ]
    if promotions != found.promotions:
        found.differences.append(f"promotions: {found.promotions} and, in one go, {promotions}")
    return found


def _world_of(own: Context, config: LifeConfig, first: datetime, end: datetime) -> World:
    settings = own.settings
    bars = own.lake.read("bars", start=first, end=end, symbols=settings.universe)
    features = build_matrix(bars, timeframe=STEP, names=feature_names(settings))
    panel = build_panel(bars, features, config.training.label, timeframe=STEP, end=end)
    symbols, filters = traded_symbols(own, ()), known_filters(own, own.ledger.standings())
    return World(bars, features, panel, symbols, end, filters)


def _compare_equity(own: Context, book: TradedBook, end: datetime, found: Agreement) -> None:
    written = own.ledger.curve(book.book.name, book.book.opened_at + STEP, end)
    walked = book.equity[1 : written.size + 1]
    expected = (end - book.book.opened_at) // STEP
    gap = float(np.abs(written - walked).max(initial=0.0))
    found.equity_points += written.size
    found.largest_difference = max(found.largest_difference, gap)
    if gap > EQUITY_TOLERANCE or written.size != expected:
        told = (
            f"{book.book.name}: {written.size} of {expected} closes, equity differs by up to {gap}"
        )
        found.differences.append(told)


def _compare_look(
    own: Context, champion: str, look: Look, as_of: datetime, found: Agreement
) -> None:
    version = look.candidacy.version
    about = (pl.col("champion") == champion) & (pl.col("challenger") == version)
    rows = own.lake.read(COMPARISONS.name, start=as_of - STEP, end=as_of).filter(about)
    gates = own.lake.read(PROMOTION_GATES.name, start=as_of - STEP, end=as_of).filter(about)
    by_measure = {row["measure"]: row for row in rows.iter_rows(named=True)}
    by_gate = dict(zip(gates["gate"], gates["observed"], strict=True))
    sides = []
    for measure, comparison in (("net_return", look.returns), ("log_loss", look.losses)):
        row = by_measure.get(measure, {})
        found.comparisons += 1
        sides += [
            (f"{measure} {c}", row.get(c), getattr(comparison, a)) for a, c in _COMPARED.items()
        ]
    for gate in look.candidacy.gates:
        if gate.name in LIVE_GATES:
            found.gates += 1
            sides.append((f"gate {gate.name}", by_gate.get(gate.name, "absent"), gate.observed))
    found.differences += [
        f"day {(as_of - START) // _DAY}, version {version}, {what}: {one} and, in one go, {other}"
        for what, one, other in sides
        if not agree(one, other)
    ]


def agree(one: Any, other: Any) -> bool:
    """Say whether two numbers or words are the same, to `RELATIVE_TOLERANCE`; NaN is nothing."""
    first, second = (None if isinstance(x, float) and math.isnan(x) else x for x in (one, other))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return bool(first == second)
