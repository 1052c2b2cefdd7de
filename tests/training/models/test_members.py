"""Members by name: their parameters, their search space, and configurations that cannot be."""

import numpy as np
import pytest
from planted_models import Noise, Reader, plant, signal_rows

from serving.predictors.voting import VotingPredictor
from training.config import TrainingConfig
from training.models import MODELS, make_model, suggest
from training.models.stacking import StackingModel
from training.models.voting import VotingModel


class Lowest:
    """A trial that suggests the low end of every range and writes down what it was asked."""

    def __init__(self):
        self.asked = []

    def suggest_int(self, name, low, high, *, step=1):
        self.asked.append(name)
        return low

    def suggest_float(self, name, low, high, *, log=False):
        self.asked.append(name)
        return low

    def report(self, value, step):
        pass

    def should_prune(self):
        return False


def config(**changes):
    return TrainingConfig.model_validate({"threads": 1, **changes})


def test_the_same_model_twice_has_two_sets_of_parameters_and_two_seeds():
    params = {"members": ["xgboost", "xgboost-deep"], "xgboost-deep.max_depth": 6}
    specs = VotingModel(params, seed=7, threads=1).specs
    assert [(spec.name, spec.params, spec.seed) for spec in specs] == [
        ("xgboost", {}, 7),
        ("xgboost-deep", {"max_depth": 6}, 8),
    ]
    assert {spec.make().name for spec in specs} == {"xgboost"}


def test_all_members_are_searched_at_once_and_what_the_hand_fixes_is_not(monkeypatch):
    plant(monkeypatch, Noise, Reader)
    asked = config(
        model="stacking",
        members=["noise", "reader", "reader-2"],
        member_params={"reader": {"depth": 5}},
    )
    trial = Lowest()
    params = suggest(asked, trial)
    assert trial.asked == ["noise.depth", "reader-2.depth"]
    assert params == {"noise.depth": 2, "reader.depth": 5, "reader-2.depth": 2}
    made = make_model(asked, params)
    assert [spec.params for spec in made.specs] == [{"depth": 2}, {"depth": 5}, {"depth": 2}]


def test_what_the_configuration_fixes_wins_over_a_trial(monkeypatch):
    plant(monkeypatch, Reader)
    asked = config(
        model="blending",
        members=["reader"],
        model_params={"shrinkage": 0.5},
        member_params={"reader": {"depth": 5}},
    )
    made = make_model(asked, {"reader.depth": 2, "shrinkage": 0.1})
    assert made.params["shrinkage"] == 0.5
    assert made.specs[0].params == {"depth": 5}


def test_a_model_of_its_own_is_searched_and_made_as_before():
    trial = Lowest()
    suggest(config(model="xgboost"), trial)
    assert trial.asked[:2] == ["rounds", "max_depth"]
    assert (
        make_model(config(model="xgboost", members=["logistic"]), {"rounds": 40}).name == "xgboost"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "voting", "members": ["prophet"]}, "model 'prophet' is not known; known are"),
        (
            {"model": "voting", "members": ["logistic", "logistic"]},
            "voting has logistic twice; tell them apart by a dash, e.g. logistic and logistic-2",
        ),
        (
            {"model": "stacking", "members": ["logistic", "stacking"]},
            "stacking cannot have the member stacking, which is an ensemble itself",
        ),
        (
            {"model": "stacking", "members": ["grouped"]},
            "stacking cannot have the member grouped, which is an ensemble itself",
        ),
        (
            {
                "model": "voting",
                "members": ["logistic"],
                "member_params": {"xgboost": {"rounds": 9}},
            },
            "voting has the parameter xgboost.rounds but no member xgboost; members are logistic",
        ),
        ({"model": "grouped"}, "set training.scope to symbol or cluster"),
        (
            {"model": "xgboost", "scope": "symbol", "model_params": {"depth": 3}},
            "no parameter depth",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_and_told_what_can(changes, message):
    with pytest.raises(ValueError, match=message):
        make_model(config(**changes), {})


@pytest.mark.parametrize("name", [name for name in MODELS if name != "grouped"])
def test_every_model_is_made_and_searched_by_its_name_alone(name):
    asked = config(model=name)
    made = make_model(asked, suggest(asked, Lowest()))
    assert made.name == name
    assert (asked.label.extra_horizons == (8, 72)) == (name == "multi_horizon")


def test_an_ensemble_without_members_has_none():
    with pytest.raises(ValueError, match="voting has no members; name models in"):
        VotingModel({"members": []}, seed=7, threads=1)


@pytest.mark.parametrize(("bars", "others"), [(1, (3,)), (2, (1, 6)), (24, (8, 72))])
def test_the_further_horizons_of_one_that_has_none_are_a_third_and_three_times_of_it(bars, others):
    label = config(model="multi_horizon", label={"horizon_bars": bars}).label
    assert (label.horizon_bars, label.extra_horizons) == (bars, others)


def test_a_scope_wraps_any_model(monkeypatch):
    plant(monkeypatch, Reader)
    asked = config(model="blending", members=["reader"], scope="symbol", group_min_rows=300)
    made = make_model(asked, {"reader.depth": 2}).fit(signal_rows())
    assert made.name == "grouped"
    assert [member.name for member in made.members] == ["blending"] * 4


def test_a_horizon_that_is_not_another_one_is_refused():
    with pytest.raises(
        ValueError, match=r"label.extra_horizons has 24, which is label.horizon_bars"
    ):
        config(label={"horizon_bars": 24, "extra_horizons": [24]})
    with pytest.raises(ValueError, match=r"from 1 on, each once"):
        config(label={"extra_horizons": [8, 8]})
    with pytest.raises(ValueError, match=r"from 1 on, each once"):
        config(label={"extra_horizons": [0]})


def test_weights_of_a_vote_are_shares_of_one():
    assert VotingModel({"weights": [3, 1]}, seed=7, threads=1).weights == [0.75, 0.25]
    assert VotingModel({}, seed=7, threads=1).weights == [0.5, 0.5]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.1], [0.0, 0.0], [np.nan, 1.0]])
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(ValueError, match="give one number each, none negative and not all 0"):
        VotingModel({"weights": weights}, seed=7, threads=1)


def test_another_vote_is_refused():
    with pytest.raises(ValueError, match="vote is 'loud'; use soft or hard"):
        VotingModel({"vote": "loud"}, seed=7, threads=1)


def test_votes_are_hard_where_asked_and_importance_goes_by_weight(monkeypatch):
    plant(monkeypatch, Noise, Reader)
    params = {"members": ["noise", "reader"], "vote": "hard", "weights": [1, 3]}
    model = VotingModel(params, seed=7, threads=1).fit(signal_rows())
    assert isinstance(model.predictor, VotingPredictor)
    assert model.predictor.hard
    assert model.importance() == pytest.approx([0, 0.75, 0.125, 0.125])


def test_members_rows_are_prepared_once_for_many_trials(monkeypatch):
    prepared = []

    class Counted(Reader):
        name = "counted"

        def prepare(self, samples):
            prepared.append(samples.y.size)
            return samples

    plant(monkeypatch, Counted)
    form = StackingModel({"members": ["counted"]}, seed=7, threads=1).prepare(signal_rows())
    assert len(prepared) == 4
    for l2 in (0.01, 0.1):
        StackingModel({"members": ["counted"], "l2": l2}, seed=7, threads=1).fit_prepared(form)
    assert len(prepared) == 4
