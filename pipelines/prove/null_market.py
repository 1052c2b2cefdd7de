"""The proof that on a market without signal nobody is promoted more often than the level allows.

**What is asked.** A life: a champion, a challenger every two months, all trading the same bars; each day
every challenger is compared with the champion, and who passes the gates becomes champion. On a market
whose prices are a martingale no model can foresee a return, so *every* promotion of such a life is
counted as false.

**Why the books of these lives pay no costs.** With costs, a challenger that trades less really is better:
it pays less, and a verdict for it is no mistake. To charge such a promotion to the rule would be as wrong
as to take it out by hand. So fees, spread and slippage are zero, stops are out of reach (a bar's high and
low are drawn apart from its path, so a fill at a stop inside it would be a little better than fair), and
every model is made by the same recipe from another span with another seed. Then a book is a bet at the
open of a martingale whatever its model says, and no book is better than another in its mean return. Only
the growth of a more volatile book is less, by half its variance: small, and of either sign. Without costs
books trade all they can: the hardest null, for books that do not trade cannot be promoted.

**What is promised.** For one reign, over all its challengers and all days: a verdict where there is no
difference at most at `comparison.level`, and as promotions are one of its two sides, a promotion at most
at half of it. Of a life without signal nothing more needs promising: a second reign begins with a false
promotion. So the share of lives with a promotion is at most level / 2, whatever their length; the proof
fails when an exact binomial test refutes that.

**That the proof can fail, and that something can be seen.** A rule that promotes at a t-statistic above
1.645 is followed over the same lives, and must be refuted. With the signal dial up, challengers know what
the champion, fitted on the same market without it, does not: the share of lives that find it is the power.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from evaluation.binomial import lower_limit, tail_probability, upper_limit
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.prove.null_agreement import Agreement
from pipelines.prove.null_books import LifeConfig
from pipelines.prove.null_lives import FEWEST_DAYS, Life, led, life_config
from pipelines.prove.null_pipeline import full_life

LIVES, DAYS, POWER_LIVES, SEED = 200, 360, 20, 7
SIGNALS = (0.15, 0.2, 0.3, 0.4)
CONFIDENCE = 0.95
ENOUGH = 10
"""Lives of which a rule that promotes in most is hardly ever not refuted."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Check:
    """One thing the proof rests on, whether it holds, and the numbers behind it."""

    name: str
    holds: bool
    told: str


@dataclass(frozen=True)
class Power:
    """What was found at one setting of the signal dial.

    Attributes
    ----------
    signal : float
    lives, promoted : int
    median_days : float or None
        To the first promotion, of the lives that have one.
    """

    signal: float
    lives: int
    promoted: int
    median_days: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON types, with the share and its 90 % interval."""
        return {
            "signal": self.signal,
            "lives": self.lives,
            "promoted": self.promoted,
            "power": self.promoted / self.lives,
            "lower": lower_limit(self.promoted, self.lives, CONFIDENCE),
            "upper": upper_limit(self.promoted, self.lives, CONFIDENCE),
            "median_days": self.median_days,
        }


@dataclass(frozen=True)
class NullMarket:
    """What was proved.

    Attributes
    ----------
    config : LifeConfig
    lives : tuple of Life
        Without signal.
    powered : tuple of Life
        With signal.
    agreements : tuple of Agreement
        Of short lives through the whole pipeline.
    seconds : float
        Wall time of all lives.
    """

    seed: int
    config: LifeConfig
    lives: tuple[Life, ...]
    powered: tuple[Life, ...]
    agreements: tuple[Agreement, ...]
    seconds: float

    @property
    def level(self) -> float:
        """The configured level: of a verdict, either way, over a whole reign."""
        return self.config.comparison.level

    @property
    def false_promotions(self) -> int:
        """Lives without signal in which anybody was promoted."""
        return sum(bool(life.course.promotions) for life in self.lives)

    @property
    def power(self) -> list[Power]:
        """What was found, by the dial."""
        return [
            _power(signal, [life for life in self.powered if life.signal == signal])
            for signal in sorted({life.signal for life in self.powered})
        ]

    @property
    def checks(self) -> list[Check]:
        """What the proof rests on."""
        return [*_null_checks(self), *_power_checks(self), *_agreement_checks(self)]

    @property
    def passed(self) -> bool:
        """Whether all of it holds."""
        return all(check.holds for check in self.checks)

    @property
    def summary(self) -> dict[str, Any]:
        """``{"lives", "false_promotions", "level", "upper95", "power"}``."""
        lives, hits = len(self.lives), self.false_promotions
        return {
            "lives": lives,
            "false_promotions": hits,
            "level": self.level,
            "upper95": upper_limit(hits, lives, CONFIDENCE),
            "power": [power.as_json() for power in self.power],
        }


def _power(signal: float, lives: Sequence[Life]) -> Power:
    days = [life.course.promotions[0].day for life in lives if life.course.promotions]
    return Power(signal, len(lives), len(days), float(median(days)) if days else None)


def _null_checks(proof: NullMarket) -> Iterator[Check]:
    lives = [life.course for life in proof.lives]
    either = sum(any((c.better_day, c.worse_day)) for c in lives)
    yield _at_most("false promotions", proof.false_promotions, len(lives), proof.level / 2.0)
    yield _at_most("false verdicts, either way", either, len(lives), proof.level)
    naive = sum(course.naive_day is not None for course in lives)
    limit, few = lower_limit(naive, len(lives), CONFIDENCE), len(lives) < ENOUGH
    yield Check(
        "a naive rule is refuted",
        limit > proof.level or few,
        f"a t-statistic above 1.645 on any day promotes in {naive} of {len(lives)} lives: its rate is "
        f"above {limit:.1%}, the level is {proof.level:.1%}"
        + (f"; fewer than {ENOUGH} lives would often not show it, and need not" if few else ""),
    )


def _at_most(name: str, hits: int, lives: int, rate: float) -> Check:
    p = tail_probability(hits, lives, rate)
    return Check(
        name,
        p > 1.0 - CONFIDENCE,
        f"{hits} of {lives} lives, at most {rate:.1%} is promised; so many or more have a probability "
        f"of {p:.3g}; the rate is below {upper_limit(hits, lives, CONFIDENCE):.1%} (95 %, one-sided)",
    )


def _power_checks(proof: NullMarket) -> Iterator[Check]:
    if proof.power:
        most = proof.power[-1]
        limit = lower_limit(most.promoted, most.lives, CONFIDENCE)
        yield Check(
            "a signal is found",
            limit > proof.level / 2.0,
            f"at {most.signal:g} {most.promoted} of {most.lives} lives find it: more often than "
            f"{limit:.1%}, chance is allowed {proof.level / 2.0:.1%}",
        )


def _agreement_checks(proof: NullMarket) -> Iterator[Check]:
    for found in proof.agreements:
        told = (
            f"{found.hours} hours, {found.equity_points} closes (largest difference "
            f"{found.largest_difference:.1g}), {found.comparisons} comparisons, {found.gates} gates, "
            f"{len(found.promotions)} promotions; {len(found.differences)} differences"
        )
        yield Check("the shortcut is the pipeline", found.holds, told)


def prove_null_market(
    context: Context,
    *,
    lives: int = LIVES,
    days: int = DAYS,
    signals: Sequence[float] = SIGNALS,
    power_lives: int = POWER_LIVES,
    full_lives: int = 1,
    seed: int = SEED,
    workers: int | None = None,
    progress: Progress | None = None,
) -> NullMarket:
    """Lead lives on markets without and with signal, and a few through the whole pipeline.

    Reads: nothing of the home but its settings and its database server. Writes: nothing that lasts.

    Parameters
    ----------
    context : Context
        `comparison`, `promotion`, `books`, `risk` and `training.split.train_days` of its settings are
        proved.
    lives, power_lives : int
        Lives without signal, and at each of `signals`.
    days : int
        Length of a life.
    signals : sequence of float
        Settings of the dial, above 0.
    full_lives : int
        Short lives that are led both ways.
    seed : int
        Lives are functions of it and of their number.
    workers : int, optional
        Processes; by default one a processor. The result does not depend on it.
    progress : callable, optional
        Told (lives done, lives, what).

    Raises
    ------
    ConfigError
        If there is no life, or one is too short, or a signal cannot be dialled.
    """
    _check(lives, days, signals, power_lives)
    config = life_config(context.settings, days)
    jobs = [(number, 0.0) for number in range(lives)]
    jobs += [(number, signal) for signal in sorted(set(signals)) for number in range(power_lives)]
    total = len(jobs) + full_lives
    began = time.perf_counter()
    found = []
    for life in led(seed, config, jobs, workers):
        found.append(life)
        if progress:
            progress(len(found), total, f"lives of {days} days, signal {life.signal:g}")
    seconds = time.perf_counter() - began

    def tell(done: int, days: int, what: str) -> None:
        if progress:
            progress(len(jobs), total, f"{done} of {days} {what}")

    agreements = [
        full_life(context.settings, config, seed + number, tell) for number in range(full_lives)
    ]
    if progress:
        progress(total, total, "done")
    return NullMarket(
        seed, config, tuple(found[:lives]), tuple(found[lives:]), tuple(agreements), seconds
    )


def _check(lives: int, days: int, signals: Sequence[float], power_lives: int) -> None:
    if lives < 1 or (signals and power_lives < 1):
        raise ConfigError(f"{lives} lives prove nothing", remedy="give --lives 200")
    if days < FEWEST_DAYS:
        raise ConfigError(
            f"a life of {days} days is shorter than {FEWEST_DAYS}",
            remedy=f"give --days {DAYS}; a verdict takes months",
        )
    for signal in signals:
        if not 0.0 < signal <= 0.5:
            raise ConfigError(
                f"signal {signal:g} is not above 0 and at most 0.5",
                remedy="lives without signal are always led; name the others, e.g. --signal 0.3",
            )


def difference_of(lives: Sequence[Life]) -> tuple[float, float]:
    """Return the mean over lives of the challengers' annual lead on the champion, and its error.

    The error of fewer than two lives is NaN.
    """
    leads = [life.course.mean_difference for life in lives]
    error = stdev(leads) / len(leads) ** 0.5 if len(leads) > 1 else float("nan")
    return fmean(leads), error
