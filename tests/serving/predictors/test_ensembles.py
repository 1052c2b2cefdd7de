"""What ensembles answer, from members whose answers are known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.observations import Observations
from serving.predictors import load_predictor
from serving.predictors.grouped import GroupedPredictor
from serving.predictors.members import Member
from serving.predictors.stacking import StackingPredictor
from serving.predictors.voting import VotingPredictor


class Says:
    """A predictor that answers every row alike and looks back a number of bars."""

    def __init__(self, *proba, context_bars=1):
        self.proba = proba
        self.context_bars = context_bars

    def predict_proba(self, observations):
        return np.tile(np.array(self.proba, dtype=float), (observations.rows.size, 1))


def member(*proba, context_bars=1):
    return Member("says", Says(*proba, context_bars=context_bars))


def rows(n=2):
    return Observations.alone(np.zeros((n, 1), dtype=np.float32))


def of_symbols(names, codes):
    codes = np.array(codes)
    X = np.zeros((codes.size, 1), dtype=np.float32)
    return Observations(X, names, codes, np.arange(codes.size), np.arange(codes.size))


OPTIMIST, PESSIMIST, FLAT = (0.1, 0.3, 0.6), (0.7, 0.2, 0.1), (0.2, 0.6, 0.2)


def test_a_soft_vote_is_the_weighted_mean_of_probabilities():
    voting = VotingPredictor([member(*OPTIMIST), member(*PESSIMIST)], [0.75, 0.25], hard=False)
    assert voting.predict_proba(rows()) == pytest.approx(np.tile([0.25, 0.275, 0.475], (2, 1)))


def test_a_hard_vote_counts_the_likeliest_classes_and_one_vote_more_is_the_mean():
    three = [member(*OPTIMIST), member(*PESSIMIST), member(0.3, 0.3, 0.4)]
    voting = VotingPredictor(three, [1 / 3, 1 / 3, 1 / 3], hard=True)
    # One vote for down, none for flat, two for up; the mean is 1.1, 0.8 and 1.1 thirds.
    expected = [(1 + 1.1 / 3) / 4, (0.8 / 3) / 4, (2 + 1.1 / 3) / 4]
    assert voting.predict_proba(rows(1)) == pytest.approx(np.array([expected]))


def test_stacking_of_equal_coefficients_is_the_geometric_mean():
    equal = np.tile(np.eye(3), (2, 1)) / 2
    stacking = StackingPredictor([member(*OPTIMIST), member(*PESSIMIST)], equal, np.zeros(3))
    mean = np.sqrt(np.array(OPTIMIST) * PESSIMIST)
    assert stacking.predict_proba(rows(1))[0] == pytest.approx(mean / mean.sum())


def test_a_member_that_rules_a_class_out_does_not_decide_alone():
    equal = np.tile(np.eye(3), (2, 1)) / 2
    stacking = StackingPredictor([member(0.0, 0.0, 1.0), member(*PESSIMIST)], equal, np.zeros(3))
    # down: sqrt(1e-4 * 0.7) of a total of sqrt(1e-4 * 0.7) + sqrt(1e-4 * 0.2) + sqrt(0.1)
    assert stacking.predict_proba(rows(1))[0, 0] == pytest.approx(0.0254, abs=1e-4)


def test_a_row_is_foretold_by_the_member_of_its_symbols_name_and_others_by_the_first():
    members = [member(*FLAT), member(*OPTIMIST), member(*PESSIMIST)]
    grouped = GroupedPredictor(members, {"AAA": 1, "BBB": 2})
    # The numbers of the symbols are others than at the fit, and CCC was not there.
    asked = of_symbols(("BBB", "CCC", "AAA"), [2, 0, 1, 2])
    assert grouped.predict_proba(asked).tolist() == [
        list(OPTIMIST),
        list(PESSIMIST),
        list(FLAT),
        list(OPTIMIST),
    ]


def test_rows_without_a_symbols_name_are_foretold_by_the_first():
    grouped = GroupedPredictor([member(*FLAT), member(*OPTIMIST)], {"AAA": 1})
    assert grouped.predict_proba(rows(1)).tolist() == [list(FLAT)]


ENSEMBLES = {
    "voting": lambda members: VotingPredictor(members, [0.5, 0.5], hard=False),
    "stacking": lambda members: StackingPredictor(members, np.ones((6, 3)), np.zeros(3)),
    "grouped": lambda members: GroupedPredictor(members, {"AAA": 1}),
}


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_an_ensemble_looks_back_as_far_as_its_furthest_member(kind):
    ensemble = ENSEMBLES[kind]([member(*FLAT), member(*FLAT, context_bars=48)])
    assert ensemble.context_bars == 48


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_no_rows_get_no_answer(kind):
    ensemble = ENSEMBLES[kind]([member(*FLAT), member(*OPTIMIST)])
    assert ensemble.predict_proba(rows(0)).shape == (0, 3)


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_a_folder_without_or_with_a_damaged_rule_is_refused(kind, tmp_path):
    with pytest.raises(ValueError, match=r"ensemble\.json does not describe an ensemble"):
        load_predictor(kind, tmp_path)
    (tmp_path / "ensemble.json").write_text(json.dumps({"members": ["logistic"]}))
    with pytest.raises(ValueError, match=r"ensemble\.json does not describe an ensemble"):
        load_predictor(kind, tmp_path)


@given(
    raw=st.lists(st.tuples(*[st.floats(0.01, 1.0)] * 3), min_size=1, max_size=4),
    rows_asked=st.integers(1, 5),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_what_an_ensemble_says_is_a_probability_and_does_not_depend_on_the_rows_beside(
    raw, rows_asked, seed
):
    members = [member(*(np.array(p) / sum(p))) for p in raw]
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(len(members)))
    coefficients = rng.normal(size=(3 * len(members), 3))
    for ensemble in (
        VotingPredictor(members, weights, hard=False),
        VotingPredictor(members, weights, hard=True),
        StackingPredictor(members, coefficients, rng.normal(size=3)),
    ):
        many = ensemble.predict_proba(rows(rows_asked))
        assert many.sum(axis=1) == pytest.approx(np.ones(rows_asked))
        assert (many >= 0).all()
        assert np.array_equal(many[:1], ensemble.predict_proba(rows(1)))
