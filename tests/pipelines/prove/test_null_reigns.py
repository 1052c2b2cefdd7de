"""Reigns over books made by hand: who is looked at, on what evidence, and who follows whom."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from evaluation.comparison.config import ComparisonConfig
from evaluation.promotion.config import PromotionConfig
from pipelines.prove.null_agreement import agree
from pipelines.prove.null_books import START, STEP, LifeConfig, TradedBook, book_named
from pipelines.prove.null_lives import life_config
from pipelines.prove.null_looks import LIVE_GATES, t_statistics
from pipelines.prove.null_reigns import Promoted, Reigns, live
from pipelines.settings import load_settings
from training.panel import microseconds

DAY = timedelta(days=1)
DAYS = 60


@pytest.fixture
def config() -> LifeConfig:
    """A life of two months whose verdicts take a month."""
    return replace(
        life_config(load_settings({}, environ={}), DAYS),
        max_challengers=2,
        challenger_days=0.0,
        comparison=ComparisonConfig(level=0.4, bootstrap_paths=100),
        promotion=PromotionConfig(required=LIVE_GATES, bars=240, trades=2),
    )


@pytest.fixture
def book(config: LifeConfig) -> Callable[..., TradedBook]:
    """`book(version, day, mean)`: hourly returns of a seed of its own; losses equal to all others'."""

    def make(version: int, day: int, mean: float) -> TradedBook:
        opened = START + day * DAY
        bars = (DAYS - day) * 24
        returns = np.random.default_rng(version).normal(mean, 0.002, bars)
        known_at = microseconds(opened) + 3_600_000_000 * np.arange(1, bars + 1)
        return TradedBook(
            book_named(str(version), opened, config),
            known_at,
            1e5 * np.exp(np.concatenate([[0.0], returns.cumsum()])),
            known_at[::5],
            np.full((bars, 2), 1.1),
        )

    return make


def lived(books: Sequence[TradedBook], config: LifeConfig, until: int) -> Reigns:
    reigns = Reigns(books, config)
    for day in range(1, until + 1):
        reigns.admit(START + day * DAY)
        reigns.decide(START + day * DAY)
    return reigns


def test_the_e_values_of_one_pass_are_those_of_a_comparison_at_every_look(
    config: LifeConfig, book: Callable[..., TradedBook]
) -> None:
    reigns = Reigns([book(1, 0, 0.0), book(2, 3, 0.0001)], config)
    seen = 0
    for day in range(4, DAYS + 1):
        as_of = START + day * DAY
        (rival,) = reigns.rivals(as_of)
        blocks, found = reigns.blocks(rival, as_of), reigns.look(rival, as_of).returns
        assert blocks == found.blocks
        if found.e_better is not None and found.e_worse is not None:
            pair, seen = reigns.pair(rival), seen + 1
            assert math.isclose(math.exp(pair.better[blocks - 1]), found.e_better, rel_tol=1e-12)
            assert math.isclose(math.exp(pair.worse[blocks - 1]), found.e_worse, rel_tol=1e-12)
    assert seen == DAYS - 3 - config.comparison.minimum_blocks + 1


def test_a_loss_counts_from_when_both_trade_until_its_horizon_is_over(
    config: LifeConfig, book: Callable[..., TradedBook]
) -> None:
    reigns = Reigns([book(1, 0, 0.0), book(2, 3, 0.0)], config)
    (rival,) = reigns.rivals(START + 6 * DAY)
    look = reigns.look(rival, START + 6 * DAY)
    assert config.training.label.horizon_bars == 24
    assert (look.returns.values, look.losses.values) == (72, 48)
    gates = {gate.name: gate.observed for gate in look.candidacy.gates}
    assert (gates["bars"], gates["trades"], gates["log_loss"]) == (72.0, 15.0, 1.0)


def test_a_better_book_is_promoted_once_and_evidence_begins_anew(
    config: LifeConfig, book: Callable[..., TradedBook]
) -> None:
    books = [book(1, 0, 0.0), book(2, 0, 0.001), book(3, 0, 0.001)]
    course = live(books, config)
    (promoted,) = course.promotions
    assert promoted == Promoted(course.better_day or 0, "2", promoted.evidence)
    assert promoted.evidence >= 2.0 / 0.2
    reigns = lived(books, config, promoted.day + 5)
    assert (reigns.reign.version, reigns.reign.previous) == ("2", "1")
    rivals = reigns.rivals(START + (promoted.day + 5) * DAY)
    assert [(r.book.model_version, r.arrival) for r in rivals] == [("1", 1), ("3", 2)]
    assert {rival.since for rival in rivals} == {START + promoted.day * DAY + STEP}
    assert [reigns.blocks(r, START + (promoted.day + 5) * DAY) for r in rivals] == [5, 5]


def test_a_worse_book_has_a_verdict_and_is_not_promoted(
    config: LifeConfig, book: Callable[..., TradedBook]
) -> None:
    course = live([book(1, 0, 0.001), book(2, 0, 0.0)], config)
    assert (course.promotions, course.better_day) == ((), None)
    assert course.worse_day is not None
    assert course.mean_difference == pytest.approx(-8.8, abs=1.0)


def test_a_gate_that_fails_keeps_the_champion(
    config: LifeConfig, book: Callable[..., TradedBook]
) -> None:
    strict = config.promotion.model_copy(update={"trades": 10**6})
    course = live([book(1, 0, 0.0), book(2, 0, 0.001)], replace(config, promotion=strict))
    assert course.promotions == ()
    assert course.better_day is not None


def test_the_challenger_of_least_evidence_makes_room_once_it_had_its_time(
    config: LifeConfig, book: Callable[..., TradedBook]
) -> None:
    books = [book(1, 0, 0.0), *(book(version, 10 * version, 0.0) for version in (2, 3, 4))]
    rivals = lived(books, config, 41).rivals(START + 41 * DAY)
    assert [(r.book.model_version, r.arrival) for r in rivals] == [("2", 1), ("4", 3)]
    patient = replace(config, challenger_days=21.0)
    rivals = lived(books, patient, 41).rivals(START + 41 * DAY)
    assert [(r.book.model_version, r.arrival) for r in rivals] == [("2", 1), ("3", 2)]


def test_the_t_statistic_is_the_textbook_one() -> None:
    values = np.array([1.0, 3.0, 2.0, 6.0])
    expected = [values[:n].mean() / (values[:n].std(ddof=1) / n**0.5) for n in (2, 3, 4)]
    assert t_statistics(values) == pytest.approx([0.0, *expected])
    assert t_statistics(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.0 + 1e-6, False),
        (None, float("nan"), True),
        (None, 0.0, False),
        ("absent", float("nan"), False),
        ("better", "worse", False),
    ],
)
def test_both_ways_agree_on_numbers_to_a_billionth_and_on_words(
    one: object, other: object, same: bool
) -> None:
    assert agree(one, other) is same
