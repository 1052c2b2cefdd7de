"""A model a symbol or cluster, and the one for all where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from planted_models import HOUR, Planted, plant, signal_rows

from serving.observations import Observations
from training.models.clusters import cluster_symbols
from training.models.grouped import GroupedModel


class Shares(Planted):
    """Says the class shares of the rows that it was fitted on."""

    name = "shares"

    def predict_proba(self, observations):
        share = np.bincount(self.samples.y, minlength=3) / self.samples.y.size
        return np.tile(share, (observations.rows.size, 1))


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    plant(monkeypatch, Shares)


def classes_by_symbol():
    """Symbol A always falls, B stays, C rises."""
    rows = signal_rows(n=100)
    return replace(rows, y=rows.observations.symbol.copy())


def asked(names):
    every = np.arange(len(names))
    return Observations(np.zeros((len(names), 4), np.float32), names, every, every, every)


def grouped(**params):
    return GroupedModel({"model": "shares", "by": "symbol", **params}, seed=7, threads=1)


def test_each_symbol_is_foretold_by_its_own_model_whatever_its_number():
    model = grouped(min_rows=100).fit(classes_by_symbol())
    proba = model.predict_proba(asked(("C", "A", "B")))
    assert proba.argmax(axis=1).tolist() == [2, 0, 1]
    assert proba.max(axis=1).tolist() == [1.0, 1.0, 1.0]


def test_a_symbol_that_was_not_there_is_foretold_by_the_model_of_all():
    model = grouped(min_rows=100).fit(classes_by_symbol())
    assert model.predict_proba(asked(("NEW",)))[0] == pytest.approx([1 / 3] * 3)


def test_a_symbol_with_too_few_rows_is_foretold_by_the_model_of_all():
    rows = classes_by_symbol()
    short = rows.of(np.flatnonzero((rows.observations.symbol != 1) | (np.arange(300) % 2 == 0)))
    model = grouped(min_rows=60).fit(short)
    assert model.predictor.places == {"A": 1, "C": 2}
    assert model.predict_proba(asked(("B",)))[0] == pytest.approx([0.4, 0.2, 0.4])
    # 50 rows of 250 are answered by the model of all.
    assert model._shares == pytest.approx([0.2, 0.4, 0.4])


def test_too_little_history_for_any_group_is_refused():
    with pytest.raises(ValueError, match=r"the largest of 3 groups has 100 rows .* is 101; use"):
        grouped(min_rows=101).fit(classes_by_symbol())


def test_grouping_by_something_else_or_a_grouped_model_is_refused():
    with pytest.raises(ValueError, match="a shares by moon cannot be made"):
        grouped(by="moon")
    with pytest.raises(ValueError, match="a grouped by symbol cannot be made"):
        grouped(model="grouped")


def two_blocs(n=480, seed=7):
    """A and C move together, B and D too, on rows thinned so that no two symbols share a bar."""
    rng = np.random.default_rng(seed)
    bloc = np.repeat(rng.normal(size=(2, n // 24)), 24, axis=1)
    rows = signal_rows(n=n, symbols=4)
    symbol, bar = rows.observations.symbol, rows.observations.bar
    realised = bloc[symbol % 2, bar] + 0.5 * rng.normal(size=symbol.size)
    return replace(rows, realised=realised).of(np.flatnonzero((bar + symbol) % 4 == 0))


def test_symbols_that_move_together_make_a_cluster_though_their_rows_never_meet():
    assert cluster_symbols(two_blocs(), 2) == [[0, 2], [1, 3]]


def test_clusters_depend_on_training_rows_alone():
    rows = two_blocs()
    early = np.flatnonzero(rows.known_at < 300 * HOUR)
    other_future = replace(rows, realised=np.where(rows.known_at < 300 * HOUR, rows.realised, 9.0))
    assert cluster_symbols(rows.of(early), 2) == cluster_symbols(other_future.of(early), 2)


def test_one_model_a_cluster_serves_all_symbols_of_it():
    model = grouped(by="cluster", clusters=2, min_rows=100).fit(two_blocs())
    assert model.predictor.places == {"A": 1, "C": 1, "B": 2, "D": 2}


def test_more_clusters_than_symbols_are_refused():
    with pytest.raises(ValueError, match=r"4 symbols cannot make 5 clusters; .* at most 4"):
        cluster_symbols(two_blocs(), 5)


def test_symbols_that_share_no_history_are_not_told_alike():
    rows = two_blocs()
    symbol = rows.observations.symbol[rows.observations.rows]
    # A has the first half alone and C the second: nothing says that they move together.
    half = 240 * HOUR
    kept = np.where(symbol == 0, rows.known_at < half, (symbol != 2) | (rows.known_at >= half))
    assert cluster_symbols(rows.of(np.flatnonzero(kept)), 3) == [[0], [1, 3], [2]]
