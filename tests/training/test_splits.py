"""Splits on random panels: nothing that the test will tell is in the training."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from training.splits import NO_END, PurgedKFold, PurgedWalkForward, audit_split

HOUR = timedelta(hours=1)
US = 3_600_000_000


@st.composite
def panels(draw):
    """(known_at, label_end) of a few symbols with gaps, labels of random length, some without end."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    symbols, bars = draw(st.integers(1, 4)), draw(st.integers(40, 120))
    longest = draw(st.integers(1, 12))
    known_at = np.tile(np.arange(bars) * US, symbols)
    known_at = known_at[rng.random(known_at.size) > 0.1]
    label_end = known_at + rng.integers(1, longest + 1, known_at.size) * US
    label_end[rng.random(known_at.size) < 0.05] = NO_END
    order = rng.permutation(known_at.size)
    return known_at[order], label_end[order]


def overlaps(known_at, label_end, train, test):
    ends = np.where(label_end == NO_END, known_at, label_end)
    return sum(
        bool(((known_at[test] <= ends[i]) & (ends[test] >= known_at[i])).any()) for i in train
    )


@given(panels(), st.integers(2, 5), st.integers(0, 6))
@budget(max_examples=60)
def test_folds_cover_every_row_once_and_never_overlap_their_training(panel, folds, embargo):
    known_at, label_end = panel
    splits = list(PurgedKFold(folds, embargo * HOUR).split(known_at, label_end))
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(known_at.size))
    for train, test in splits:
        assert overlaps(known_at, label_end, train, test) == 0
        assert (label_end[train] != NO_END).all()
        ends = label_end[test][label_end[test] != NO_END]
        reach = max(known_at[test].max(), ends.max(initial=0))
        between = (known_at[train] > known_at[test].max()) & (
            known_at[train] <= reach + embargo * US
        )
        assert not between.any()


@given(panels(), st.integers(1, 4))
@budget(max_examples=60)
def test_walk_forward_trains_only_on_labels_that_had_ended(panel, windows):
    known_at, label_end = panel
    splitter = PurgedWalkForward(windows, 6 * HOUR, 20 * HOUR, int(known_at.max()))
    bounds = splitter.bounds()
    assert bounds[-1][2] == known_at.max()
    for (begin, start, stop), (train, test) in zip(
        bounds, splitter.split(known_at, label_end), strict=True
    ):
        assert overlaps(known_at, label_end, train, test) == 0
        assert (label_end[train] <= start).all()
        assert (known_at[train] > begin).all()
        assert ((known_at[test] > start) & (known_at[test] <= stop)).all()


def test_a_fold_purges_the_labels_that_reach_into_it_and_embargoes_the_bars_after_it():
    known_at = np.arange(9) * US
    label_end = known_at + 2 * US
    splits = list(PurgedKFold(3, HOUR).split(known_at, label_end))
    assert [test.tolist() for _, test in splits] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert [train.tolist() for train, _ in splits] == [[6, 7, 8], [0], [0, 1, 2, 3]]


def test_the_audit_counts_rows_and_the_distance_between_training_and_test():
    known_at = np.arange(9) * US
    label_end = known_at + 2 * US
    audit = audit_split(
        "inner 1", known_at, label_end, np.array([0]), np.array([3, 4, 5]), timeframe=HOUR
    )
    assert audit.as_json() == {
        "name": "inner 1",
        "train_rows": 1,
        "test_rows": 3,
        "overlaps": 0,
        "gap_bars_before": 1.0,
    }


@given(panels(), st.data())
@budget(max_examples=60)
def test_the_audit_refuses_exactly_the_splits_that_overlap(panel, data):
    known_at, label_end = panel
    rows = np.flatnonzero(label_end != NO_END)
    cut = data.draw(st.integers(1, rows.size - 1))
    train, test = np.sort(rows[:cut]), np.sort(rows[cut:])
    if overlaps(known_at, label_end, train, test):
        with pytest.raises(ValueError, match="overlap the test interval"):
            audit_split("random", known_at, label_end, train, test, timeframe=HOUR)
    else:
        audit_split("random", known_at, label_end, train, test, timeframe=HOUR)


def test_the_audit_refuses_an_empty_side_and_labels_without_end():
    known_at = np.arange(6) * US
    label_end = known_at + US
    with pytest.raises(ValueError, match="both sides need rows"):
        audit_split(
            "w", known_at, label_end, np.array([], dtype=int), np.array([1]), timeframe=HOUR
        )
    label_end[0] = NO_END
    with pytest.raises(ValueError, match="1 have no end"):
        audit_split("w", known_at, label_end, np.array([0]), np.array([4]), timeframe=HOUR)


def test_more_folds_than_instants_are_refused():
    with pytest.raises(ValueError, match="cannot make 5 folds"):
        list(PurgedKFold(5).split(np.zeros(9, dtype=np.int64), np.ones(9, dtype=np.int64)))


def test_around_a_gap_as_long_as_a_fold_folds_have_equally_many_instants():
    known_at = np.array([0, 1, 2, 97, 98, 99]) * US
    tests = [test.tolist() for _, test in PurgedKFold(3).split(known_at, known_at + 1)]
    assert tests == [[0, 1], [2, 3], [4, 5]]


def test_folds_within_what_a_fold_of_the_same_number_leaves_all_have_rows():
    known_at = np.repeat(np.arange(300), 2) * US
    for train, _ in PurgedKFold(3).split(known_at, known_at + 5 * US):
        inner = list(PurgedKFold(3).split(known_at[train], known_at[train] + 5 * US))
        assert [test.size for _, test in inner] == pytest.approx([train.size / 3] * 3, abs=2)
        assert min(kept.size for kept, _ in inner) > train.size / 2


@given(panels(), st.integers(1, 4))
@budget(max_examples=40)
def test_an_expanding_walk_forward_knows_all_a_rolling_one_does_and_what_came_before(
    panel, windows
):
    known_at, label_end = panel
    how = (windows, 6 * HOUR, 20 * HOUR, int(known_at.max()))
    rolling = list(PurgedWalkForward(*how).split(known_at, label_end))
    expanding = list(PurgedWalkForward(*how, expanding=True).split(known_at, label_end))
    assert expanding[0][0].tolist() == rolling[0][0].tolist()
    for (narrow, test), (wide, same) in zip(rolling, expanding, strict=True):
        assert test.tolist() == same.tolist()
        assert set(narrow) <= set(wide)
        assert overlaps(known_at, label_end, wide, test) == 0
    starts = {begin for begin, _, _ in PurgedWalkForward(*how, expanding=True).bounds()}
    assert starts == {rolling_start(how)}


def rolling_start(how):
    return PurgedWalkForward(*how).bounds()[0][0]
