"""The scorer: literal scores, files with hashes, and a process that cannot import the training."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost

from serving.bounds import ResidualBounds
from serving.observations import Observations
from serving.predictors import load_predictor
from serving.predictors.grouped import GroupedPredictor
from serving.predictors.members import Member
from serving.predictors.voting import VotingPredictor
from serving.predictors.xgboost import XGBoostPredictor
from serving.scorer import Scorer, ScorerSpec, first_needed, score_after, score_frame

NAMES = ("momentum", "realised_vol_72")


def alone(rows):
    """Rows of features without a past."""
    return Observations.alone(np.array(rows, dtype=np.float32))


class Fixed:
    """A predictor that says what it was told."""

    def __init__(self, proba):
        self.proba = np.array(proba, dtype=float)

    context_bars = 1

    def predict_proba(self, observations):
        return np.tile(self.proba, (observations.rows.size, 1))

    def save(self, folder):
        (folder / "fixed.json").write_text(json.dumps(self.proba.tolist()))


def spec(**changes):
    values = {
        "predictor": "xgboost",
        "feature_names": NAMES,
        "feature_set": "abc",
        "scale_feature": "realised_vol_72",
        "horizon_bars": 4,
        "bar_seconds": 3600,
        "calibration": {"kind": "none"},
        "class_returns": (-1.0, 0.0, 1.0),
        "residual_bounds": ResidualBounds((), ((-0.5, 1.5),)),
        "train_start": datetime(2023, 1, 1, tzinfo=UTC),
        "train_end": datetime(2024, 1, 1, tzinfo=UTC),
    }
    return ScorerSpec(**{**values, **changes})


@pytest.fixture(scope="module")
def booster():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(600, 2)).astype(np.float32)
    y = (X[:, 0] > 0.4).astype(int) + (X[:, 0] > -0.4)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 2, "nthread": 1}
    return xgboost.train(params, xgboost.DMatrix(X, y), 5)


@pytest.fixture
def folder(booster, tmp_path):
    path = tmp_path / "scorer"
    Scorer(spec(), XGBoostPredictor(booster)).save(path)
    return path


def test_expected_return_is_the_classes_returns_scaled_by_volatility_over_the_horizon():
    scorer = Scorer(spec(), Fixed([0.2, 0.3, 0.5]))
    columns = scorer.score(alone([[0.0, 0.01], [0.0, np.nan]]))
    # (-0.2 + 0.5) * 0.01 * sqrt(4); the interval is 0.5 below to 1.5 above, in the same units.
    assert columns["expected_return"][0] == pytest.approx(0.006)
    assert columns["lower"][0] == pytest.approx(0.006 - 0.01)
    assert columns["upper"][0] == pytest.approx(0.006 + 0.03)
    assert columns["horizon_bars"].tolist() == [4, 4]
    assert np.isnan(columns["expected_return"][1])


def test_rows_without_volatility_are_left_out_of_the_frame_and_other_nulls_are_scored():
    known_at = [datetime(2024, 1, 1, tzinfo=UTC)] * 2
    keys = pl.DataFrame(
        {"symbol": ["A", "B"], "known_at": known_at},
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    X = np.array([[np.nan, 0.01], [0.0, np.nan]], dtype=np.float32)
    frame = score_frame(Scorer(spec(), Fixed([0.2, 0.3, 0.5])), keys, X)
    assert frame["symbol"].to_list() == ["A"]
    assert frame.columns[2:5] == ["p_down", "p_flat", "p_up"]


class SumOfTwoBars:
    """A predictor of sequences: p_up is a tenth of the feature's sum over this bar and the last."""

    context_bars = 2

    def predict_proba(self, observations):
        value = {
            (code, bar): row[0]
            for code, bar, row in zip(
                observations.symbol, observations.bar, observations.X, strict=True
            )
        }
        asked = [(observations.symbol[row], observations.bar[row]) for row in observations.rows]
        up = np.array([value[s, b] + value.get((s, b - 1), 0.0) for s, b in asked]) / 10
        return np.column_stack([1 - up, np.zeros_like(up), up])


def test_a_sequence_model_sees_the_rows_before_and_scores_only_what_is_asked():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    features = pl.DataFrame(
        {
            "venue": "v",
            "symbol": ["B", "B", "A", "A", "A"],
            "known_at": [start + timedelta(hours=h) for h in (1, 3, 0, 1, 2)],
            "momentum": [1.0, 2.0, 3.0, 4.0, 5.0],
            "realised_vol_72": 0.01,
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    scorer = Scorer(spec(), SumOfTwoBars())
    scored = score_after(scorer, features, start)
    assert scored.select("symbol", pl.col("p_up").round(6)).rows() == [
        ("B", 0.1),
        ("B", 0.2),
        ("A", 0.7),
        ("A", 0.9),
    ]
    assert first_needed(scorer, start) == start - timedelta(hours=1)


def test_a_saved_scorer_scores_as_before(booster, folder):
    X = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    X[::7, 0] = np.nan
    before = Scorer(spec(), XGBoostPredictor(booster)).score(alone(X))
    after = Scorer.load(folder).score(alone(X))
    for name, values in before.items():
        assert np.array_equal(values, after[name], equal_nan=True)
    total = after["p_down"] + after["p_flat"] + after["p_up"]
    assert np.abs(total - 1).max() < 1e-12


def test_a_row_scored_alone_is_the_row_scored_among_many_to_the_last_bit(folder):
    rows = np.random.default_rng(2).normal(0.01, 0.02, size=(257, 2)).astype(np.float32)
    scorer = Scorer.load(folder)
    among = scorer.score(alone(rows))
    for place in range(0, 257, 16):
        for name, value in scorer.score(alone(rows[place : place + 1])).items():
            assert np.array_equal(value, among[name][place : place + 1], equal_nan=True), name


def test_no_rows_give_no_scores(folder):
    columns = Scorer.load(folder).score(alone(np.empty((0, 2))))
    assert {values.size for values in columns.values()} == {0}


def test_saving_twice_gives_the_same_hash(booster, tmp_path):
    scorer = Scorer(spec(), XGBoostPredictor(booster))
    assert scorer.save(tmp_path / "a") == scorer.save(tmp_path / "b")


def test_a_changed_file_is_refused(folder):
    model = folder / "booster.ubj"
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"booster\.ubj has hash .* registered is"):
        Scorer.load(folder)


def test_a_changed_specification_is_refused_by_the_registered_hash(booster, tmp_path):
    registered = Scorer(spec(), XGBoostPredictor(booster)).save(tmp_path)
    path = tmp_path / "scorer.json"
    path.write_text(path.read_text().replace('"horizon_bars": 4', '"horizon_bars": 5'))
    with pytest.raises(ValueError, match=r"scorer\.json has hash"):
        Scorer.load(tmp_path, expected_hash=registered)


def test_a_missing_file_or_folder_is_refused(folder, tmp_path):
    (folder / "booster.ubj").unlink()
    with pytest.raises(ValueError, match="missing"):
        Scorer.load(folder)
    with pytest.raises(ValueError, match=r"holds no scorer\.json"):
        Scorer.load(tmp_path)


def test_another_feature_set_is_refused():
    scorer = Scorer(spec(), Fixed([0.2, 0.3, 0.5]))
    scorer.check_feature_set("abc")
    with pytest.raises(ValueError, match="fitted on feature set abc, the features at hand are xyz"):
        scorer.check_feature_set("xyz")


def test_another_number_of_columns_is_refused():
    with pytest.raises(ValueError, match=r"X has shape \(3, 5\); the model wants \(n, 2\)"):
        Scorer(spec(), Fixed([1, 0, 0])).score(alone(np.zeros((3, 5))))


def test_an_unknown_predictor_and_a_damaged_booster_are_refused(tmp_path):
    with pytest.raises(ValueError, match="predictor 'oracle' is not known; known are xgboost"):
        load_predictor("oracle", tmp_path)
    (tmp_path / "booster.ubj").write_bytes(b"not a booster")
    (tmp_path / "booster.sha256").write_text("0" * 64)
    with pytest.raises(ValueError, match=r"not the one in booster\.sha256; save the model anew"):
        load_predictor("xgboost", tmp_path)


def test_a_specification_without_a_key_is_refused():
    tree = spec().as_json()
    del tree["class_returns"]
    with pytest.raises(ValueError, match="does not describe a scorer"):
        ScorerSpec.from_json(tree)


SCORE_ALONE = """
import sys
from pathlib import Path

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("training", "mlflow", "pipelines", "evaluation"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import numpy
from serving.observations import Observations
from serving.scorer import Scorer
X = numpy.array([[0.1, 0.02]], dtype=numpy.float32)
columns = Scorer.load(Path(sys.argv[1])).score(Observations.alone(X))
print(round(float(columns["p_up"][0]), 12))
"""


def test_scoring_needs_neither_training_nor_a_tracking_library(folder):
    done = subprocess.run(
        [sys.executable, "-c", SCORE_ALONE, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[2],
    )
    here = Scorer.load(folder).score(alone([[0.1, 0.02]]))
    assert float(done.stdout) == round(float(here["p_up"][0]), 12)


@pytest.fixture
def ensemble_folder(booster, tmp_path):
    members = [Member("xgboost", XGBoostPredictor(booster)) for _ in range(2)]
    voting = VotingPredictor(members, [0.5, 0.5], hard=False)
    inner = Member("voting", voting)
    path = tmp_path / "ensemble"
    Scorer(spec(predictor="grouped"), GroupedPredictor([inner, inner], {"A": 1})).save(path)
    return path


def test_an_ensembles_files_are_named_by_their_path_and_read_as_they_were(booster, ensemble_folder):
    loaded = Scorer.load(ensemble_folder)
    assert sorted(loaded.spec.files) == [
        "ensemble.json",
        "member_0/ensemble.json",
        "member_0/member_0/booster.sha256",
        "member_0/member_0/booster.ubj",
        "member_0/member_1/booster.sha256",
        "member_0/member_1/booster.ubj",
        "member_1/ensemble.json",
        "member_1/member_0/booster.sha256",
        "member_1/member_0/booster.ubj",
        "member_1/member_1/booster.sha256",
        "member_1/member_1/booster.ubj",
    ]
    X = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    plain = XGBoostPredictor(booster).predict_proba(alone(X))
    assert loaded.predictor.predict_proba(alone(X)) == pytest.approx(plain)


def test_a_changed_or_missing_file_of_a_member_is_refused(ensemble_folder):
    model = ensemble_folder / "member_1" / "member_0" / "booster.ubj"
    content = model.read_bytes()
    model.write_bytes(content + b" ")
    with pytest.raises(ValueError, match=r"member_1/member_0/booster\.ubj has hash .* registered"):
        Scorer.load(ensemble_folder)
    model.unlink()
    with pytest.raises(ValueError, match=r"member_1/member_0/booster\.ubj has hash missing"):
        Scorer.load(ensemble_folder)


def test_a_file_that_was_not_saved_is_refused(ensemble_folder):
    (ensemble_folder / "member_1" / "extra.txt").write_text("stray")
    with pytest.raises(
        ValueError, match=r"holds member_1/extra\.txt, which the scorer did not save"
    ):
        Scorer.load(ensemble_folder)
