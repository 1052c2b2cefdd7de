"""What every model promises; a new file in training/models/ is tested by being listed in MODELS."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from serving.observations import Observations
from serving.predictors import load_predictor
from training.models import MODELS, model_class
from training.samples import HorizonLabels, Samples

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=sorted(MODELS))
def kind(request):
    return model_class(request.param)


@pytest.fixture(scope="module")
def rows():
    return ordinary_rows()


@cache
def ordinary_rows():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(900, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    score = np.nan_to_num(X[:, 0]) + 0.3 * rng.normal(size=900)
    return samples(X, np.digitize(score, [-0.5, 0.5]), rng.uniform(0.5, 1.5, 900))


def samples(X, y, weight):
    """Three symbols of 300 consecutive hours each, every label four hours long."""
    n = len(X)
    bar = np.tile(np.arange(n // 3), 3)
    known_at = bar * 3_600_000_000
    return Samples(
        observations=Observations(
            X, ("A", "B", "C"), np.repeat(np.arange(3), n // 3), bar, np.arange(n)
        ),
        y=y,
        realised=(y - 1).astype(float),
        weight=weight,
        known_at=known_at,
        label_end=known_at + 4 * 3_600_000_000,
        embargo=timedelta(hours=2),
        others={3: HorizonLabels(y, (y - 1).astype(float))},
    )


def fitted(kind, rows, seed=7, threads=1):
    if rows is ordinary_rows():
        return ordinarily_fitted(kind, seed, threads)
    return kind({}, seed=seed, threads=threads).fit(rows)


@cache
def ordinarily_fitted(kind, seed, threads):
    return kind({}, seed=seed, threads=threads).fit(ordinary_rows())


class Middle:
    """A trial that suggests the middle of every range."""

    def suggest_int(self, name, low, high, *, step=1):
        return low + (high - low) // (2 * step) * step

    def suggest_float(self, name, low, high, *, log=False):
        return float(np.sqrt(low * high)) if log else (low + high) / 2

    def report(self, value, step):
        pass

    def should_prune(self):
        return False


def test_probabilities_are_three_sum_to_one_and_know_the_signal(kind, rows):
    proba = fitted(kind, rows).predict_proba(rows.observations)
    assert proba.shape == (900, 3)
    assert proba.sum(axis=1) == pytest.approx(np.ones(900))
    assert (proba.argmax(axis=1) == rows.y).mean() > 0.7


def test_the_same_seed_gives_the_same_model_and_the_number_of_threads_does_not_matter(kind, rows):
    once, again = fitted(kind, rows), fitted(kind, rows, threads=2)
    assert np.array_equal(
        once.predict_proba(rows.observations), again.predict_proba(rows.observations)
    )
    other = fitted(kind, rows, seed=8).predict_proba(rows.observations)
    # Nothing is drawn for a linear model: its loss has one minimum.
    assert np.array_equal(once.predict_proba(rows.observations), other) == (kind.kind == "linear")


def test_a_refit_forgets(kind, rows):
    model = kind({}, seed=7, threads=1).fit(replace(rows, y=2 - rows.y)).fit(rows)
    asked = rows.observations
    assert np.array_equal(model.predict_proba(asked), fitted(kind, rows).predict_proba(asked))


def test_prepared_rows_may_be_shared_by_many_fits(kind, rows):
    prepared = kind({}, seed=7, threads=1).prepare(rows)
    for _ in range(2):
        model = kind({}, seed=7, threads=1).fit_prepared(prepared)
        assert np.array_equal(
            model.predict_proba(rows.observations),
            fitted(kind, rows).predict_proba(rows.observations),
        )


def test_weights_are_used(kind, rows):
    heavy = replace(rows, weight=np.where(rows.y == 2, 20.0, 0.05))
    asked = rows.observations
    assert (
        fitted(kind, heavy).predict_proba(asked)[:, 2].mean()
        > fitted(kind, rows).predict_proba(asked)[:, 2].mean() + 0.2
    )


def test_a_weight_of_two_is_worth_a_row_that_is_there_twice(kind, rows):
    if kind({}, seed=7, threads=1).context_bars > 1:
        pytest.skip("a symbol has no bar twice, so what looks back over bars cannot be asked")
    up = np.flatnonzero(rows.y == 2)
    single = replace(rows, weight=np.ones(900))
    doubled = replace(rows, weight=np.where(rows.y == 2, 2.0, 1.0))
    repeated = single.of(np.concatenate([np.arange(900), up]))
    once, twice, again = (
        fitted(kind, one).predict_proba(rows.observations)[:, 2].mean()
        for one in (single, doubled, repeated)
    )
    assert twice > once + 0.03
    assert again == pytest.approx(twice, abs=(twice - once) / 2)


def test_columns_that_say_nothing_are_learned_around(kind, rows):
    X = rows.observations.X.copy()
    X[:, 3] = 1.5
    X[:, 4] = np.nan
    observations = rows.observations.with_columns(X)
    model = fitted(kind, replace(rows, observations=observations))
    proba = model.predict_proba(observations)
    assert (proba.argmax(axis=1) == rows.y).mean() > 0.7
    assert model.importance()[3:5].tolist() == [0, 0]


def test_a_row_of_nothing_but_nan_has_probabilities(kind, rows):
    X = rows.observations.X.copy()
    X[-3:] = np.nan
    asked = rows.observations.with_columns(X).of(np.arange(897, 900))
    proba = fitted(kind, rows).predict_proba(asked)
    assert np.isfinite(proba).all()
    assert proba.sum(axis=1) == pytest.approx(np.ones(3))


def test_a_row_is_foretold_alike_among_all_and_among_its_past_alone(kind, rows):
    model = fitted(kind, rows)
    among_all = model.predict_proba(rows.observations)
    asked = np.array([899, 5, 600, 312])
    if model.context_bars == 1:
        for chosen in (asked, asked[:1], asked[1:3]):
            assert np.array_equal(model.predict_proba(only(rows, chosen)), among_all[chosen])
    assert model.predict_proba(rows.observations.of(asked)) == pytest.approx(
        among_all[asked], abs=1e-6
    )
    assert model.predict_proba(rows.observations.of(asked[:0])).shape == (0, 3)


def only(rows, chosen):
    every = rows.observations
    return Observations(
        every.X[chosen],
        every.symbols,
        every.symbol[chosen],
        every.bar[chosen],
        np.arange(chosen.size),
    )


def test_an_absent_class_is_all_but_impossible_and_a_fit_prints_nothing_and_leaves_no_file(
    kind, rows, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    absent = replace(rows, y=np.where(rows.y == 2, 1, rows.y))
    proba = fitted(kind, absent).predict_proba(rows.observations)
    assert proba[:, 2].max() < 0.05
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_predicts_the_same_here_and_where_there_is_no_training(kind, rows, tmp_path):
    model = fitted(kind, rows)
    model.save(tmp_path)
    expected = model.predict_proba(rows.observations)
    assert np.array_equal(kind.load(tmp_path).predict_proba(rows.observations), expected)
    served = load_predictor(kind.predictor_kind, tmp_path)
    assert np.array_equal(served.predict_proba(rows.observations), expected)
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".pkl", ".pickle", ".joblib")]


ALONE = """
import sys

class NoTraining:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("training", "evaluation", "pipelines"):
            raise ImportError(name + " is not here")

sys.meta_path.insert(0, NoTraining())
from pathlib import Path
import numpy as np
from serving.observations import Observations
from serving.predictors import load_predictor

folder = Path(sys.argv[1])
given = np.load(folder / "rows.npz")
asked = Observations(given["X"], ("A", "B", "C"), given["symbol"], given["bar"], given["rows"])
for kind in sys.argv[2:]:
    name, predictor = kind.split("=")
    np.save(folder / f"{name}.npy", load_predictor(predictor, folder / name).predict_proba(asked))
"""


def test_every_model_predicts_the_same_in_a_process_without_training(rows, tmp_path):
    asked = rows.observations
    np.savez(tmp_path / "rows.npz", X=asked.X, symbol=asked.symbol, bar=asked.bar, rows=asked.rows)
    kinds = [model_class(name) for name in MODELS]
    for kind in kinds:
        (tmp_path / kind.name).mkdir()
        fitted(kind, rows).predictor.save(tmp_path / kind.name)
    words = [f"{kind.name}={kind.predictor_kind}" for kind in kinds]
    command = [sys.executable, "-c", ALONE, str(tmp_path), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    for kind in kinds:
        found = np.load(tmp_path / f"{kind.name}.npy")
        assert np.array_equal(found, fitted(kind, rows).predict_proba(asked)), kind.name


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "another"])
def test_a_damaged_file_is_refused_by_name(kind, rows, tmp_path, damage):
    fitted(kind, rows).save(tmp_path)
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            size = len(whole) // 2 if damage == "cut" else 0
            path.write_bytes(b"not a model\n" * 30 if damage == "another" else whole[:size])
        with pytest.raises(ValueError, match=path.stem):
            kind.load(tmp_path)
        path.write_bytes(whole)
    kind.load(tmp_path)


def test_importance_is_a_share_and_finds_the_signal(kind, rows):
    shares = fitted(kind, rows).importance()
    assert shares.shape == (6,)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 0


def test_what_the_space_suggests_can_be_fitted(kind, rows):
    model = kind(kind.space(Middle()), seed=7, threads=1).fit(rows)
    assert model.predict_proba(rows.observations.of(np.arange(5))).shape == (5, 3)


def test_an_unknown_parameter_is_refused_with_the_known_ones(kind):
    with pytest.raises(ValueError, match="has no parameter max_dept; known are"):
        kind({"max_dept": 3}, seed=7, threads=1)


def test_an_unfitted_model_says_so(kind):
    with pytest.raises(ValueError, match="not fitted"):
        kind({}, seed=7, threads=1).predict_proba(
            Observations.alone(np.zeros((1, 6), dtype=np.float32))
        )


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="model 'prophet' is not known; known are"):
        model_class("prophet")
