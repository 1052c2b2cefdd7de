"""Who leaves for a new challenger."""

from datetime import UTC, datetime, timedelta

from evaluation.promotion.places import Incumbent, makes_room

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TENURE = timedelta(days=90)


def since(days: float) -> datetime:
    return NOW - timedelta(days=days)


def test_nobody_leaves_before_his_time() -> None:
    young = [Incumbent("2", since(89.9), "undecided", 0.1), Incumbent("3", since(1))]
    assert makes_room(young, NOW, TENURE) is None
    assert makes_room([], NOW, TENURE) is None


def test_of_those_who_had_their_time_the_one_of_least_evidence_leaves() -> None:
    old = [
        Incumbent("2", since(400), "undecided", 7.0),
        Incumbent("3", since(90), "undecided", 0.3),
        Incumbent("4", since(91), "undecided", 0.3),
        Incumbent("5", since(10), "undecided", 0.0),
    ]
    assert makes_room(old, NOW, TENURE) == "3"


def test_one_that_has_shown_to_be_worse_leaves_at_once() -> None:
    rivals = [Incumbent("2", since(400), "undecided", 0.0), Incumbent("3", since(5), "worse", 0.01)]
    assert makes_room(rivals, NOW, TENURE) == "3"


def test_who_has_not_been_compared_yet_has_evidence_neither_way() -> None:
    rivals = [Incumbent("2", since(95)), Incumbent("3", since(93), "undecided", 0.3)]
    assert makes_room(rivals, NOW, TENURE) == "3"
    assert makes_room([rivals[0], Incumbent("4", since(92), "undecided", 1.2)], NOW, TENURE) == "2"
