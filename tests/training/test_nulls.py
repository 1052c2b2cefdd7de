"""Labels without and with a known answer: what the changes keep, and who is caught by them."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from training.config import LabelConfig, NullConfig
from training.models import make_model
from training.nulls import check_labels, out_of_fold, shifted_labels, shuffled_labels
from training.panel import Panel, build_panel
from training.splits import NO_END

HOUR = timedelta(hours=1)
US = 3_600_000_000
HORIZON = 12
CONFIG = NullConfig(every_bars=2)
NOTHING = timedelta(0)


def random_panel(seed=0, bars=1500, symbols=3, missing=0.0):
    """A market of noise: no feature knows the future, and one tells the return of the past horizon."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(bars + HORIZON, 1))
    returns = 0.01 * (common + rng.normal(size=(bars + HORIZON, symbols)))
    path = np.vstack([np.zeros(symbols), returns.cumsum(axis=0)])
    past = path[HORIZON:-1] - path[: -HORIZON - 1]
    future = np.full_like(past, np.nan)
    future[:-HORIZON] = past[HORIZON:]
    scale = 0.014 * np.sqrt(HORIZON)
    bar, symbol = (
        a.T.ravel() for a in np.meshgrid(np.arange(bars), np.arange(symbols), indexing="ij")
    )
    kept = rng.random(bar.size) >= missing
    bar, symbol = bar[kept], symbol[kept]
    realised = future[bar, symbol]
    known = ~np.isnan(realised)
    outcome = np.where(known, 1 + np.sign(realised) * (np.abs(realised) > 0.5 * scale), -1)
    known_at = (bar + 1) * US
    return Panel(
        keys=pl.DataFrame({"symbol": symbol}),
        X=np.column_stack([past[bar, symbol] / scale, rng.normal(size=bar.size)]).astype(
            np.float32
        ),
        feature_names=("momentum", "noise"),
        symbols=tuple("ABCDE"[:symbols]),
        symbol=symbol.astype(np.int64),
        known_at=known_at.astype(np.int64),
        label_end=np.where(known, known_at + HORIZON * US, NO_END),
        outcome=outcome.astype(np.int64),
        realised=realised,
        scale=scale * (1.0 + 0.5 * (bar % 7 == 0)),
        label=LabelConfig(kind="fixed_horizon", horizon_bars=HORIZON),
        timeframe=HOUR,
    )


def labelled(panel):
    return np.flatnonzero(panel.labelled)


def place(X):
    return np.clip(np.floor(4 * X[:, 0]).astype(int) + 8, 0, 15)


def sound(panel, train, test):
    """Class shares by sixteen bins of the first feature."""
    counts = np.ones((16, 3)) * 2.0
    np.add.at(counts, (place(panel.X[train]), panel.outcome[train]), 1.0)
    return (counts / counts.sum(axis=1, keepdims=True))[place(panel.X[test])]


def blind(panel, train, test):
    shares = np.bincount(panel.outcome[train], minlength=3) / train.size
    return np.tile(shares, (test.size, 1))


def cheat(panel, train, test):
    """Whatever it was told to train on, it looks at the outcomes of the rows around the test row."""
    order = np.lexsort((panel.known_at, panel.symbol))
    beside = np.empty_like(order)
    beside[order] = np.roll(order, 1)
    answer = panel.outcome[beside[test]]
    return np.where(np.arange(3) == np.maximum(answer, 0)[:, None], 0.6, 0.2)


def test_a_sound_training_passes_both_checks_on_a_market_of_noise():
    panel = random_panel()
    null, canary = check_labels(panel, labelled(panel), sound, CONFIG, embargo=HOUR, seed=1)
    assert (null.name, null.behaves) == ("shuffled_labels_0", True)
    assert null.skill.lower <= 0.0
    assert (canary.name, canary.behaves) == ("shifted_labels", True)
    assert canary.skill.value > 0.3
    assert [audit.overlaps for audit in (*null.audits, *canary.audits)] == [0] * 4
    assert null.as_json()["skill"]["level"] == pytest.approx(0.98)
    assert "not foreseen, as it must be" in null.meaning


def test_a_training_that_is_told_its_test_is_caught_by_the_shuffle():
    panel = random_panel()
    null, canary = check_labels(panel, labelled(panel), cheat, CONFIG, embargo=HOUR, seed=1)
    assert not null.behaves
    assert null.skill.lower > 0.0
    assert "is told its test" in null.meaning
    assert canary.behaves


def test_a_training_that_learns_nothing_is_caught_by_the_canary():
    panel = random_panel()
    null, canary = check_labels(panel, labelled(panel), blind, CONFIG, embargo=HOUR, seed=1)
    assert null.behaves
    assert not canary.behaves
    assert "blind" in canary.meaning


def test_a_sound_training_is_hardly_ever_called_unfit():
    config = NullConfig(every_bars=1, level=0.9)
    alarms = 0
    for seed in range(40):
        panel = random_panel(seed, bars=500)
        null, _ = check_labels(panel, labelled(panel), sound, config, embargo=HOUR, seed=seed)
        alarms += not null.behaves
    assert alarms <= 8


def test_several_shuffles_differ_and_share_the_error_of_one():
    panel = random_panel()
    config = NullConfig(every_bars=2, shuffles=2, level=0.98)
    first, second, _ = check_labels(panel, labelled(panel), sound, config, embargo=HOUR, seed=1)
    assert first.skill.value != second.skill.value
    assert first.skill.level == pytest.approx(0.98)
    assert (first.name, second.name) == ("shuffled_labels_0", "shuffled_labels_1")


def test_a_shuffle_moves_whole_instants_and_keeps_every_label():
    panel = random_panel()
    rows = labelled(panel)
    changed = shuffled_labels(panel, rows, seed=3)
    before = panel.outcome[rows].reshape(3, -1)
    after = changed.outcome[rows].reshape(3, -1)
    # all symbols at an instant come from one instant
    assert sorted(map(tuple, before.T)) == sorted(map(tuple, after.T))
    scaled = np.sort(panel.realised[rows] / panel.scale[rows])
    assert np.sort(changed.realised[rows] / changed.scale[rows]) == pytest.approx(scaled)
    assert changed.X is panel.X


def test_a_shuffle_keeps_the_memory_of_labels_and_cuts_their_hour_of_the_day():
    panel = random_panel(bars=3000, symbols=1)
    rows = labelled(panel)
    hour = panel.known_at // US % 24
    told = Panel(
        **{**panel.__dict__, "realised": np.where(panel.labelled, hour * panel.scale, np.nan)}
    )
    changed = shuffled_labels(told, rows, seed=0)
    source = np.round(changed.realised[rows] / changed.scale[rows]).astype(int)
    stays_beside = np.mean((np.diff(source) % 24) == 1)
    assert stays_beside > 0.97
    same_hour = np.mean(source == hour[rows])
    assert same_hour < 0.15


@given(st.integers(0, 10_000), st.floats(0.0, 0.3))
@budget(max_examples=25, deadline=None)
def test_changed_labels_are_labels_of_their_symbol_and_last_no_longer(seed, missing):
    panel = random_panel(seed, bars=400, missing=missing)
    rows = labelled(panel)[5:]
    for changed in (shuffled_labels(panel, rows, seed=seed), shifted_labels(panel, rows)):
        found = np.flatnonzero(changed.labelled)
        assert set(found) <= set(rows)
        assert found.size > 0.6 * rows.size * (1 - missing)
        assert (changed.label_end[found] == panel.known_at[found] + HORIZON * US).all()
        without = np.setdiff1d(np.arange(panel.symbol.size), found)
        assert (changed.outcome[without] == -1).all()
        assert np.isnan(changed.realised[without]).all()
        for symbol in range(3):
            own, new = rows[panel.symbol[rows] == symbol], found[panel.symbol[found] == symbol]
            known = panel.realised[own] / panel.scale[own]
            taken = changed.realised[new] / changed.scale[new]
            assert np.abs(np.sort(known)[:, None] - taken).min(axis=0).max() < 1e-12


def test_a_shift_gives_each_row_the_label_of_one_horizon_ago():
    panel = random_panel(bars=200, symbols=2)
    changed = shifted_labels(panel, labelled(panel))
    for symbol in range(2):
        own = np.flatnonzero(panel.symbol == symbol)
        late, early = own[HORIZON : 200 - HORIZON], own[: 200 - 2 * HORIZON]
        assert (changed.outcome[late] == panel.outcome[early]).all()
        assert (panel.label_end[early] <= panel.known_at[late]).all()
        assert (changed.outcome[own[:HORIZON]] == -1).all()
        # the feature is the past return: it is the answer
        told = changed.realised[late] / changed.scale[late] * panel.scale[early]
        assert told == pytest.approx(panel.X[late, 0] * 0.014 * np.sqrt(HORIZON), abs=1e-6)


def test_too_short_a_span_and_wrong_probabilities_are_refused():
    panel = random_panel(bars=250)
    with pytest.raises(ValueError, match=r"pieces of 24 to 48 bars; a shuffle needs 8"):
        shuffled_labels(panel, labelled(panel)[:150], seed=0)
    for proba in (np.ones((3, 2)), np.full((3, 3), np.nan)):
        with pytest.raises(ValueError, match=r"shift fold 0: probabilities of shape \(3, "):
            out_of_fold(
                panel,
                labelled(panel),
                lambda *_, p=proba: p,
                folds=2,
                embargo=NOTHING,
                name="shift",
            )


def test_the_baseline_is_the_class_shares_of_the_training_fold():
    panel = random_panel(bars=300, symbols=1)
    rows = labelled(panel)
    found = out_of_fold(panel, rows, blind, folds=2, embargo=NOTHING, name="w")
    assert found.known_at.tolist() == panel.known_at[rows].tolist()
    assert found.base_loss == pytest.approx(found.loss, abs=0.1)


def test_a_real_model_on_bars_with_a_signal_finds_it_shifted_and_not_shuffled(
    bars, features, config
):
    end = bars["known_at"].max()
    panel = build_panel(bars, features, config.label, timeframe=HOUR, end=end)
    rows = panel.training_rows(bars["known_at"].min(), end)

    def fit(panel, train, test):
        samples = panel.samples(train, every=1, embargo_bars=6)
        model = make_model(config, {"rounds": 20, "max_depth": 3}).fit(samples)
        return model.predict_proba(panel.observations(test))

    found = check_labels(panel, rows, fit, CONFIG, embargo=6 * HOUR, seed=0)
    assert [check.behaves for check in found] == [True, True]
    assert found[1].skill.value > 0.03
    assert found[0].skill.lower <= 0
