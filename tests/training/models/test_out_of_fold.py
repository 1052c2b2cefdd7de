"""A combination learns from what members say of rows that they did not see, and from nothing else."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from planted_models import HOUR, Memory, Planted, Reader, plant, signal_rows, with_horizon

from evaluation.calibration import log_loss
from serving.predictors.stacking import StackingPredictor, log_evidence
from training.models.blending import BlendingModel, blend_weights
from training.models.composite import served
from training.models.grouped import GroupedModel
from training.models.out_of_fold import out_of_fold_proba, prepare_members
from training.models.stacking import StackingModel, fit_log_linear

NAIVE = {"l2": 0.01}


class Witness(Planted):
    """Writes down which bars it learned from, until when, and which it was then asked for."""

    name = "witness"
    fits: ClassVar[list] = []

    def predict_proba(self, observations):
        asked = observations.bar[observations.rows]
        self.fits.append((self.samples.known_at, self.samples.label_end, asked * HOUR))
        return np.full((asked.size, 3), 1 / 3)


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(Witness, "fits", [])
    plant(monkeypatch, Memory, Reader, Witness)


MEMBERS = ["memory", "reader"]


def fresh_rows():
    return signal_rows(seed=8)


def loss_on_fresh_rows(predictor):
    fresh = fresh_rows()
    return log_loss(predictor.predict_proba(fresh.observations), fresh.y)


def test_stacking_does_not_believe_a_member_that_knows_its_training_rows_by_heart(planted):
    rows = signal_rows()
    stacking = StackingModel({"members": MEMBERS}, seed=7, threads=1).fit(rows)
    honest = loss_on_fresh_rows(stacking)
    assert honest < loss_on_fresh_rows(stacking.members[1]) + 0.01
    # What a combination fitted on in-sample predictions comes to: all belief in the memory, which on
    # fresh rows says nothing.
    in_sample = np.stack([m.predict_proba(rows.observations) for m in stacking.members])
    coefficients, intercept = fit_log_linear(log_evidence(in_sample), rows.y, rows.weight, **NAIVE)
    naive = StackingPredictor(served(stacking.members), coefficients, intercept)
    assert loss_on_fresh_rows(naive) > honest + 0.1


def test_blending_gives_the_memory_no_more_than_the_shrinkage_does(planted):
    rows = signal_rows()
    blend = BlendingModel({"members": MEMBERS, "shrinkage": 0.02}, seed=7, threads=1).fit(rows)
    assert blend.predictor.weights[0] < 0.1
    in_sample = np.stack([m.predict_proba(rows.observations) for m in blend.members])
    happened = in_sample[:, np.arange(rows.y.size), rows.y]
    assert blend_weights(happened, rows.weight, shrinkage=0.02)[0] > 0.9


def test_every_row_is_foretold_once_by_members_whose_labels_do_not_touch_it(planted):
    rows = signal_rows()
    StackingModel({"members": ["witness"], "folds": 3}, seed=7, threads=1).fit(rows)
    assert len(Witness.fits) == 3
    asked = np.concatenate([asked for _, _, asked in Witness.fits])
    assert sorted(asked.tolist()) == sorted(rows.known_at.tolist())
    for known_at, label_end, asked in Witness.fits:
        first, last = asked.min(), asked.max() + 4 * HOUR
        before, after = label_end < first, known_at > last + 2 * HOUR
        assert (before | after).all()
        assert before.any() or after.any()


def test_the_inner_splits_are_audited_and_the_audits_kept(planted):
    rows = signal_rows()
    stacking = StackingModel({"members": ["reader"], "folds": 4}, seed=7, threads=1).fit(rows)
    assert [audit.name for audit in stacking.audits] == [f"ensemble fold {k}" for k in range(4)]
    assert {audit.overlaps for audit in stacking.audits} == {0}
    assert sum(audit.test_rows for audit in stacking.audits) == rows.y.size
    # The last label before the second fold ends a bar before it.
    assert stacking.audits[1].gap_bars_before == 1.0
    params = {"model": "stacking", "by": "symbol", "min_rows": 300, "members": ["reader"]}
    grouped = GroupedModel(params, seed=7, threads=1).fit(rows)
    assert len(grouped.audits) == 4 * 3


def test_folds_that_purging_empties_are_refused(planted):
    rows = signal_rows()
    long = replace(rows, label_end=rows.known_at + 400 * HOUR)
    model = StackingModel({"members": ["reader"]}, seed=7, threads=1)
    with pytest.raises(ValueError, match="split ensemble fold 0: 0 training and 300 test rows"):
        model.fit(long)


def test_folds_are_purged_by_the_longest_label_that_a_row_teaches(planted):
    rows = signal_rows()
    both = with_horizon(rows, 24, rows.y, label_hours=24)
    form = prepare_members(both, [Reader({}, seed=7, threads=1)], folds=3, horizons=(None, 24))
    test = form.folds[1].test
    first, last = both.known_at[test].min(), both.known_at[test].max()
    for part in form.folds[1].prepared:
        long_end = part.known_at + 24 * HOUR
        assert ((long_end < first) | (part.known_at > last + 26 * HOUR)).all()
        assert (part.known_at < first).any()
    # Purged by the four hours of the base label alone, it would have kept rows whose longer label
    # tells of the test fold.
    short = prepare_members(rows, [Reader({}, seed=7, threads=1)], folds=3, horizons=(None,))
    kept = short.folds[1].prepared[0]
    assert ((kept.known_at + 24 * HOUR >= first) & (kept.known_at < first)).any()


def test_out_of_fold_predictions_stand_where_their_rows_stand(planted):
    rows = signal_rows()
    # Rows out of order, as a panel's are: symbol after symbol, and here shuffled too.
    places = np.random.default_rng(3).permutation(rows.y.size)
    shuffled = rows.of(places)
    model = Reader({}, seed=7, threads=1)
    form = prepare_members(shuffled, [model], folds=3, horizons=(None,))
    proba = out_of_fold_proba(form, lambda: [Reader({}, seed=7, threads=1)])
    assert np.array_equal(proba[0], model.predict_proba(shuffled.observations))
