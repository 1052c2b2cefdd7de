"""Who is champion over a life: the books of it, looked at once a day by the functions of the pipeline.

Evidence is added by whole blocks, which end at midnight: looking every hour sees nothing that looking
once a day does not. The e-values of all looks at a pair come from one pass over its blocks; where one
is beyond its bound, the whole comparison is made, and every gate is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from evaluation.comparison.blocks import block_means, differences
from evaluation.promotion.candidacy import Candidacy, candidacy, successor
from evaluation.promotion.places import Incumbent, makes_room
from pipelines.ledger import Book, Promotion
from pipelines.paired_records import NO_RECORD, Rival, rivals_of
from pipelines.prove.null_books import STEP, LifeConfig, TradedBook
from pipelines.prove.null_looks import Look, Pair, compared, pair_of, shown
from pipelines.steps.compare_models import return_terms
from serving.compiled import Floats
from serving.limits import bars_per_year
from training.panel import microseconds

NAIVE_T = 1.6448536269514722
"""A t-statistic above it is significant at 5 %, one-sided, to whoever looks once and at one challenger."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Promoted:
    """A promotion of a life: on which day, of which version, on what e-value."""

    day: int
    version: str
    evidence: float


@dataclass(frozen=True)
class Course:
    """What happened in a life.

    Attributes
    ----------
    promotions : tuple of Promoted
    better_day, worse_day, naive_day : int or None
        Of the first reign: the first day on which the returns of a challenger had a verdict, and on
        which a rule that promotes at a t-statistic above `NAIVE_T` would have promoted.
    mean_difference : float
        Annual log return of the challengers less that of the first champion, on the bars both traded.
    """

    promotions: tuple[Promoted, ...]
    better_day: int | None
    worse_day: int | None
    naive_day: int | None
    mean_difference: float


class Reigns:
    """The state of a life: who is champion, who has a book.

    Parameters
    ----------
    books : sequence of TradedBook
        In the order in which they open; the first is the first champion.
    config : LifeConfig
    """

    def __init__(self, books: Sequence[TradedBook], config: LifeConfig) -> None:
        self._traded = {book.version: book for book in books}
        self._standing = {book.version: book.book for book in books}
        self._config = config
        self._pairs: dict[tuple[datetime, str], Pair] = {}
        first = books[0].book
        self.reign = Promotion(
            first.opened_at + STEP, books[0].version, None, "first", "a life", "first", None
        )

    def admit(self, as_of: datetime) -> None:
        """Where a book opens, find its place as `register` does; without one it never trades."""
        arrived = [b for b in self._standing.values() if b.opened_at == as_of]
        present = [
            book
            for version, book in self._standing.items()
            if version not in (self.reign.version, self.reign.previous)
            and book.opened_at < as_of
            and book.retired_at is None
        ]
        for book in arrived if len(present) >= self._config.max_challengers else ():
            leaves = self._makes_room(present, as_of) or str(book.model_version)
            self._standing[leaves] = replace(self._standing[leaves], retired_at=as_of)

    def _makes_room(self, present: Sequence[Book], as_of: datetime) -> str | None:
        looks = {rival.book.book_id: self.look(rival, as_of) for rival in self.rivals(as_of)}
        incumbents = [
            Incumbent(str(book.model_version), book.opened_at, found.verdict, found.e_better)
            for book in present
            if (found := looks[book.book_id].returns)
        ]
        return makes_room(incumbents, as_of, timedelta(days=self._config.challenger_days))

    def rivals(self, as_of: datetime) -> list[Rival]:
        """Return the challengers at `as_of`."""
        return rivals_of(list(self._standing.values()), self.reign, as_of)

    def look(self, rival: Rival, as_of: datetime) -> Look:
        """Compare a challenger with the champion, and ask its gates."""
        version = str(rival.book.model_version)
        champion, challenger = self._traded[self.reign.version], self._traded[version]
        returns, losses = compared(champion, challenger, rival, as_of, self._config)
        observed = shown(challenger, rival, returns, losses, as_of)
        judged = candidacy(version, observed, 2.0 / returns.level, self._config.promotion)
        return Look(rival, returns, losses, judged)

    def pair(self, rival: Rival) -> Pair:
        """Return the whole record of a challenger beside the champion of this reign."""
        version = str(rival.book.model_version)
        key = (self.reign.effective_from, version)
        if key not in self._pairs:
            pair = self._traded[self.reign.version], self._traded[version]
            self._pairs[key] = pair_of(*pair, rival, self._config)
        return self._pairs[key]

    def blocks(self, rival: Rival, as_of: datetime) -> int:
        """Return how many complete blocks there are at a look."""
        pair, until = self.pair(rival), microseconds(as_of)
        terms = return_terms(self._config.comparison, STEP, rival.arrival, until, NO_RECORD)
        seen = int(np.searchsorted(pair.known_at, until, side="right"))
        found = block_means(pair.known_at[:seen], pair.values[:seen], terms.grid, until)
        return found.size

    def decide(self, as_of: datetime) -> Candidacy | None:
        """Let the best of those who may become champion, from the next bar on."""
        asked = "evidence" in self._config.promotion.required
        candidates = []
        for rival in self.rivals(as_of):
            if not asked or self._beyond(rival, as_of):
                candidates.append(self.look(rival, as_of).candidacy)
        chosen = successor(candidates)
        # Who has just been retired may pass every gate, and cannot serve.
        if chosen is None or self._standing[chosen.version].retired_at is not None:
            return None
        before = self.reign.version
        self.reign = Promotion(
            as_of + STEP, chosen.version, before, "evidence", "a life", "evidence", None
        )
        return chosen

    def _beyond(self, rival: Rival, as_of: datetime) -> bool:
        return verdict_of(self.pair(rival).better, self.blocks(rival, as_of), rival, self._config)


def verdict_of(path: Floats, blocks: int, rival: Rival, config: LifeConfig) -> bool:
    """Say whether the log e-value after so many blocks is beyond the bound of the challenger."""
    comparison = config.comparison
    if blocks < comparison.minimum_blocks:
        return False
    level = return_terms(comparison, STEP, rival.arrival, 0, NO_RECORD).level
    return bool(path[blocks - 1] >= np.log(2.0 / level))


def live(books: Sequence[TradedBook], config: LifeConfig) -> Course:
    """Lead a life day by day: open and retire books, look at every challenger, decide."""
    reigns = Reigns(books, config)
    start = books[0].book.opened_at
    promotions: list[Promoted] = []
    first_days: dict[str, int] = {}
    for day in range(1, config.days + 1):
        as_of = start + day * _DAY
        reigns.admit(as_of)
        if not promotions:
            for name in _verdicts(reigns, as_of, config):
                first_days.setdefault(name, day)
        chosen = reigns.decide(as_of)
        if chosen is not None:
            promotions.append(Promoted(day, chosen.version, chosen.evidence))
    return Course(
        tuple(promotions),
        better_day=first_days.get("better"),
        worse_day=first_days.get("worse"),
        naive_day=first_days.get("naive"),
        mean_difference=_mean_difference(books),
    )


def _verdicts(reigns: Reigns, as_of: datetime, config: LifeConfig) -> set[str]:
    """Return what a challenger shows at a look, of `better`, `worse` and `naive`."""
    found = set()
    for rival in reigns.rivals(as_of):
        pair, blocks = reigns.pair(rival), reigns.blocks(rival, as_of)
        for name, path in (("better", pair.better), ("worse", pair.worse)):
            if verdict_of(path, blocks, rival, config):
                found.add(name)
        if blocks >= config.comparison.minimum_blocks and pair.naive[blocks - 1] > NAIVE_T:
            found.add("naive")
    return found


def _mean_difference(books: Sequence[TradedBook]) -> float:
    first, *others = books
    end = int(first.known_at[-1])
    found = [differences(first.record(end), other.record(end))[1] for other in others]
    return float(np.concatenate(found).mean() * bars_per_year(STEP))
