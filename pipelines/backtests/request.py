"""What a backtest is asked, and one run of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from evaluation.backtest import BacktestResult, Setup
from pipelines.backtests.scores import Scored, check_model
from pipelines.backtests.variants import Variant
from pipelines.clock import format_instant
from pipelines.errors import ConfigError

MOST_EXAMINED = 12
FORMATS = ("html", "pdf", "xlsx", "json")


@dataclass(frozen=True)
class Extras:
    """Examinations of each result: paths of a Monte Carlo (0 for none), and which others."""

    monte_carlo: int = 0
    stress: bool = False
    sensitivity: bool = False
    capacity: bool = False

    def any(self) -> bool:
        """Say whether one is asked for."""
        return self != Extras()


@dataclass(frozen=True)
class Request:
    """What is to be traded, over which span, and what is wanted beside the result.

    Attributes
    ----------
    models : tuple of str
        Versions, ``champion`` (as of `end`) or baseline strategies.
    start, end : datetime
        Bars with `start < known_at <= end`.
    variants : tuple of Variant
        Configurations; every model is traded under each.
    extras : Extras
    allow_in_sample : bool
        Trade bars that a version was fitted on; the result is stamped.
    reported : bool
        Whether reports are written.
    report : Path, optional
        Their folder; by default one of the home, named by the run's id.
    formats : tuple of str
        Of the tear sheets, see `FORMATS`.
    """

    models: tuple[str, ...]
    start: datetime
    end: datetime
    variants: tuple[Variant, ...]
    extras: Extras = field(default_factory=Extras)
    allow_in_sample: bool = False
    reported: bool = True
    report: Path | None = None
    formats: tuple[str, ...] = ("html", "json")

    @property
    def explained(self) -> bool:
        """Whether the runs are few enough to be explained one by one."""
        return len(set(self.models)) * len(self.variants) <= MOST_EXAMINED

    def check(self) -> None:
        """Refuse what cannot be meant, before anything is read.

        Raises
        ------
        ConfigError
            If a model or a format cannot be meant, or examinations are asked of more runs than `MOST_EXAMINED`.
        """
        for model in self.models:
            check_model(model)
        if self.extras.any() and not self.explained:
            count = len(set(self.models)) * len(self.variants)
            raise ConfigError(
                f"{count:,} backtests with examinations of each; the bound is {MOST_EXAMINED}",
                remedy="sweep first, then examine one configuration with --config or --set",
            )
        if self.extras.monte_carlo < 0:
            raise ConfigError(
                f"--monte-carlo {self.extras.monte_carlo} is negative",
                remedy="give a number of paths, e.g. 10000",
            )
        for name in self.formats:
            if name not in FORMATS:
                raise ConfigError(
                    f"--format {name!r} is not known", remedy=f"use one of {', '.join(FORMATS)}"
                )


@dataclass(frozen=True)
class Trader:
    """One model or baseline, with the scores it may be traded on."""

    name: str
    strategy: str
    version: str | None
    scored: Scored | None

    def stamp(self) -> dict[str, str] | None:
        """Return the first and last bar traded in-sample, None if there is none."""
        if self.scored is None or self.scored.in_sample is None:
            return None
        first, last = self.scored.in_sample
        return {"first": format_instant(first), "last": format_instant(last)}

    def warning(self) -> str:
        """Return the stamp in words; empty if nothing is in-sample."""
        stamp = self.stamp()
        if stamp is None:
            return ""
        return (
            f"IN-SAMPLE: {self.name} was fitted on bars it trades here, {stamp['first']} to "
            f"{stamp['last']}; this is no evidence"
        )


@dataclass(frozen=True)
class Run:
    """One trader under one configuration.

    Attributes
    ----------
    figures : mapping
        The run's line in the table.
    result : BacktestResult, optional
        None where the runs are too many to be explained.
    """

    name: str
    trader: Trader
    variant: Variant
    figures: Mapping[str, float]
    result: BacktestResult | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of the table of all runs, as JSON types."""
        return {
            "name": self.name,
            "model": self.trader.version or self.trader.strategy,
            "strategy": self.trader.strategy,
            "config": self.variant.name,
            "overrides": dict(self.variant.overrides),
            **plain(self.figures),
            "in_sample": self.trader.stamp(),
        }


def setup_of(variant: Variant) -> Setup:
    """Return what the engine is given of a variant."""
    return Setup(variant.costs, variant.risk, variant.initial_cash)


def plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures as JSON has them: null where a figure is not defined."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
