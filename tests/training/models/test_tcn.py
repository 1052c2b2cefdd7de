"""The temporal convolutional network: what a probability depends on, and what it can learn."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.observations import Observations
from serving.predictors import load_predictor
from serving.predictors.tcn import TCNPredictor
from serving.sequences.architecture import Architecture
from serving.sequences.scaling import RobustScaling
from serving.sequences.temporal import TemporalNet
from training.models.tcn import TCNModel
from training.samples import Samples
from training.sequences import CONTEXT_LIMIT
from training.sequences.loop import Learning
from training.sequences.loss import focal_loss
from training.sequences.start import initialise
from training.sequences.windows import Cut, prepare, tail_split

HOUR = 3_600_000_000
FEATURES = 3
SMALL = Architecture(FEATURES, channels=8, levels=3, kernel=2, pool_levels=2, heads=2)
"""Looks back 11 bars: 7 of convolutions before each of the 4 that are pooled."""


def lively_predictor(seed=3):
    """A network whose every weight counts, as after learning."""
    net = TemporalNet(SMALL)
    initialise(net, torch.full((3,), 1 / 3), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in (*net.mix, net.attend, net.answer):
        torch.nn.init.normal_(layer.weight, std=0.5, generator=generator)
    ones = np.ones(FEATURES, np.float32)
    return TCNPredictor(net.requires_grad_(False), RobustScaling(0 * ones, ones))


PREDICTOR = lively_predictor()


@st.composite
def panels(draw):
    """Rows of a few symbols in any order, with gaps, late starts, early ends and missing features."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    symbols = draw(st.integers(1, 3))
    pieces = []
    for symbol in range(symbols):
        bars = 100 + draw(st.integers(0, 30)) + np.arange(draw(st.integers(1, 60)))
        pieces += [
            (symbol, bar) for bar in bars[rng.random(bars.size) < draw(st.sampled_from([0.5, 1]))]
        ]
    rows = np.array(pieces or [(0, 100)])[rng.permutation(max(len(pieces), 1))]
    X = rng.normal(size=(len(rows), FEATURES)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    names = tuple("ABC"[:symbols])
    return Observations(X, names, rows[:, 0], rows[:, 1], np.arange(len(rows)))


def only(panel, kept, asked):
    """The rows `kept` of a panel, asked for row number `asked` of the panel."""
    rows = np.flatnonzero(kept)
    return Observations(
        panel.X[rows],
        panel.symbols,
        panel.symbol[rows],
        panel.bar[rows],
        np.searchsorted(rows, [asked]),
    )


@given(panels(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_a_sweep_gives_each_row_what_its_own_window_gives(panel, random):
    swept = PREDICTOR.predict_proba(panel)
    row = random.randrange(len(panel.X))
    age = panel.bar[row] - panel.bar
    window = (panel.symbol == panel.symbol[row]) & (age >= 0) & (age < 11)
    alone = PREDICTOR.predict_proba(only(panel, window, row))
    np.testing.assert_allclose(alone[0], swept[row], rtol=1e-5)


@given(panels(), st.integers(100, 190))
@settings(max_examples=40)
def test_cutting_the_future_changes_nothing(panel, cut):
    past = panel.of(np.flatnonzero(panel.bar <= cut))
    future = (panel.bar > cut)[:, None]
    other = past.with_columns(np.where(future, np.float32(4.0), panel.X))
    expected = PREDICTOR.predict_proba(panel)[past.rows]
    np.testing.assert_allclose(PREDICTOR.predict_proba(past), expected, rtol=1e-5)
    np.testing.assert_allclose(PREDICTOR.predict_proba(other), expected, rtol=1e-5)


def regular(n=40, seed=1):
    X = np.random.default_rng(seed).normal(size=(n, FEATURES)).astype(np.float32)
    return Observations(X, ("A",), np.zeros(n, np.int64), np.arange(n), np.array([n - 1]))


def test_the_oldest_bar_of_the_context_counts_and_the_one_before_does_not():
    panel = regular()
    before = PREDICTOR.predict_proba(panel)
    changed = {age: panel.X.copy() for age in (10, 11)}
    for age, X in changed.items():
        X[-1 - age] += 2
    assert PREDICTOR.context_bars == 11
    assert not np.allclose(
        PREDICTOR.predict_proba(panel.with_columns(changed[10])), before, rtol=1e-4
    )
    assert np.array_equal(PREDICTOR.predict_proba(panel.with_columns(changed[11])), before)


def test_a_bar_that_is_not_there_is_not_a_bar_of_medians():
    panel = regular()
    medians = panel.X.copy()
    medians[-2] = 0
    absent = only(panel, panel.bar != 38, 39)
    there = PREDICTOR.predict_proba(panel.with_columns(medians))
    assert not np.allclose(PREDICTOR.predict_proba(absent), there, rtol=1e-4)
    assert np.isfinite(PREDICTOR.predict_proba(only(panel, panel.bar == 39, 39))).all()


def test_symbols_do_not_see_each_other():
    panel = regular()
    two = Observations(
        np.concatenate((panel.X, panel.X[::-1])),
        ("A", "B"),
        np.repeat([0, 1], 40),
        np.tile(panel.bar, 2),
        panel.rows,
    )
    np.testing.assert_allclose(
        PREDICTOR.predict_proba(two), PREDICTOR.predict_proba(panel), rtol=1e-6
    )


def test_no_row_asked_is_no_answer_and_two_rows_on_one_bar_are_refused():
    panel = regular()
    assert PREDICTOR.predict_proba(panel.of(np.empty(0, np.int64))).shape == (0, 3)
    twice = replace(panel, bar=np.minimum(panel.bar, 38))
    with pytest.raises(ValueError, match="symbol 0 has two rows on bar 38"):
        PREDICTOR.predict_proba(twice)


def test_torch_is_left_as_it_was():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    TCNModel({"epochs": 1}, seed=1, threads=1).fit(ordered(300))
    PREDICTOR.predict_proba(regular())
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_num_threads(threads)


def ordered(n, seed=5):
    """Two symbols whose class is whether the feature was higher three bars ago or six bars ago."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2 * n, FEATURES)).astype(np.float32)
    lagged = np.concatenate([np.roll(part, 3) - np.roll(part, 6) for part in (X[:n, 1], X[n:, 1])])
    y = np.digitize(lagged, [-0.6, 0.6])
    bar = np.tile(np.arange(n), 2)
    return labelled(X, y, np.repeat([0, 1], n), bar)


def labelled(X, y, symbol, bar, embargo_bars=2):
    return Samples(
        observations=Observations(X, ("A", "B"), symbol, bar, np.arange(len(X))),
        y=y,
        realised=(y - 1).astype(float),
        weight=np.ones(len(X)),
        known_at=bar * HOUR,
        label_end=(bar + 4) * HOUR,
        embargo=timedelta(hours=embargo_bars),
    )


def test_it_learns_an_order_in_time_that_no_single_row_shows():
    small = {"levels": 3, "pool_levels": 1, "dropout": 0.1, "feature_dropout": 0.0}
    learned = TCNModel({**small, "learning_rate": 0.01}, seed=1, threads=1).fit(ordered(600))
    unseen = ordered(300, seed=6)
    rows = np.flatnonzero(unseen.observations.bar >= 20)
    proba = learned.predict_proba(unseen.observations.of(rows))
    alone = learned.predict_proba(Observations.alone(unseen.observations.X[rows]))
    assert (proba.argmax(axis=1) == unseen.y[rows]).mean() > 0.75
    assert (alone.argmax(axis=1) == unseen.y[rows]).mean() < 0.45


def test_what_stops_the_fit_is_purged_from_what_is_learned():
    samples = ordered(200)
    fit, tail = tail_split(samples)
    begin = samples.known_at[tail].min()
    assert samples.known_at[fit].max() < begin
    assert begin == 170 * HOUR
    # A label of 4 bars and an embargo of 2 before bar 170 leave bars up to 163.
    assert samples.known_at[fit].max() == 163 * HOUR
    assert tail.size == 2 * 30


def test_labels_of_the_tail_choose_the_epoch_and_teach_nothing():
    samples = ordered(300)
    y, tail = np.digitize(samples.observations.X[:, 1], [-0.5, 0.5]), tail_split(samples)[1]
    other_y = y.copy()
    other_y[tail[:9]] = (y[tail[:9]] + 1) % 3
    few = {"epochs": 3, "dropout": 0.1, "feature_dropout": 0.0, "learning_rate": 0.01}
    first = {**few, "refit": False}
    one, other = (
        TCNModel(first, seed=1, threads=1).fit(replace(samples, y=each)) for each in (y, other_y)
    )
    assert np.argmin(one.tail_losses) == np.argmin(other.tail_losses) == 3
    assert other.tail_losses != one.tail_losses
    asked = samples.observations
    assert np.array_equal(one.predict_proba(asked), other.predict_proba(asked))
    # Only the refit, whose length is settled by then, learns from them.
    again = TCNModel(few, seed=1, threads=1).fit(replace(samples, y=other_y))
    assert again.tail_losses == other.tail_losses
    assert not np.array_equal(again.predict_proba(asked), other.predict_proba(asked))


def test_features_of_rows_that_are_not_learned_from_do_not_set_the_scale():
    samples = ordered(300)
    _, tail = tail_split(samples)
    X = samples.observations.X.copy()
    X[tail] *= 100
    wild = replace(samples, observations=samples.observations.with_columns(X))
    for name in ("center", "inverse"):
        assert np.array_equal(
            getattr(prepare(wild).scaling, name), getattr(prepare(samples).scaling, name)
        )
    assert np.abs(prepare(wild).scaled.numpy()).max() == 5


def test_learning_stops_when_the_tail_has_not_improved_for_its_patience():
    rng = np.random.default_rng(2)
    noise = replace(ordered(300), y=rng.integers(0, 3, 600))
    model = TCNModel({"epochs": 30, "patience": 3, "learning_rate": 0.01}, seed=1, threads=1)
    losses = model.fit(noise).tail_losses
    assert len(losses) < 31
    assert int(np.argmin(losses)) == len(losses) - 4


def test_an_untrained_network_answers_the_shares_of_the_classes():
    samples = ordered(300)
    model = TCNModel({"epochs": 0, "refit": False}, seed=1, threads=1).fit(samples)
    y = samples.y[tail_split(samples)[0]]
    shares = (np.bincount(y, minlength=3) + 0.5) / (y.size + 1.5)
    np.testing.assert_allclose(model.predict_proba(samples.observations)[7], shares, rtol=1e-5)
    assert model.importance().tolist() == [0.0, 0.0, 0.0]


def test_every_sample_is_learned_once_an_epoch_whatever_the_borders():
    samples = ordered(300)
    prepared = prepare(samples)
    cut = Cut(context=11, length=32, at_once=4)
    for rng in (None, np.random.default_rng(1), np.random.default_rng(2)):
        batches = list(prepared.batches(prepared.fit, cut, rng))
        assert sum(int((b.weight > 0).sum()) for b in batches) == prepared.fit.size
        classes = torch.cat([b.y[b.weight > 0] for b in batches])
        assert torch.equal(
            classes.bincount(minlength=3), prepared.y[prepared.fit].bincount(minlength=3)
        )


def test_rows_older_than_any_context_are_not_kept_for_learning():
    samples = ordered(600)
    late = samples.of(np.flatnonzero(samples.observations.bar >= 500))
    assert len(prepare(late).scaled) == 2 * (100 + CONTEXT_LIMIT - 1) + 1


def test_too_little_history_is_refused_with_what_is_missing():
    with pytest.raises(ValueError, match="leave none to learn from before the last 15%"):
        TCNModel({}, seed=1, threads=1).fit(ordered(6))


def test_sizes_that_make_no_network_are_refused():
    with pytest.raises(ValueError, match="kernel too small"):
        TCNModel({"kernel": 1}, seed=1, threads=1)
    with pytest.raises(ValueError, match="30 channels cannot be shared by 4 heads"):
        TCNModel({"channels": 30}, seed=1, threads=1)
    with pytest.raises(ValueError, match="looks back 542 bars; the most is 256"):
        TCNModel({"levels": 8}, seed=1, threads=1)


def test_focal_loss_is_log_loss_at_zero_and_forgives_the_easy_above():
    logits = torch.log(torch.tensor([[[0.8], [0.1], [0.1]], [[0.2], [0.4], [0.4]]]))
    y, weight = torch.zeros(2, 1, dtype=torch.int64), torch.tensor([[1.0], [2.0]])
    plain = -np.log(0.8) - 2 * np.log(0.2)
    focal = -(0.2**2) * np.log(0.8) - 2 * 0.8**2 * np.log(0.2)
    assert float(focal_loss(logits, y, weight, 0.0)) == pytest.approx(plain)
    assert float(focal_loss(logits, y, weight, 2.0)) == pytest.approx(focal)


def test_the_learning_rate_rises_then_falls_to_nothing():
    learning = Learning(
        epochs=10,
        patience=3,
        learning_rate=0.01,
        warm_up=0.2,
        weight_decay=0.0,
        dropout=0.0,
        feature_dropout=0.0,
        focal_gamma=0.0,
        mixup_alpha=0.0,
    )
    assert [learning.rate(p) for p in (0.1, 0.2, 0.6, 1.0)] == pytest.approx(
        [0.005, 0.01, 0.005, 0]
    )


@pytest.mark.parametrize("option", [{"mixup_alpha": 0.4}, {"focal_gamma": 2.0}])
def test_options_of_the_loss_change_the_fit_and_still_learn(option):
    samples = ordered(300)
    few = {"epochs": 3, "levels": 3, "pool_levels": 1, "learning_rate": 0.01}
    plain = TCNModel(few, seed=1, threads=1).fit(samples)
    other = TCNModel({**few, **option}, seed=1, threads=1).fit(samples)
    assert other.tail_losses[1:] != plain.tail_losses[1:]
    assert min(other.tail_losses) < other.tail_losses[0]


def test_scaling_is_robust_bounded_and_says_how_much_is_missing():
    column = np.arange(101, dtype=np.float32)
    X = np.stack([column, np.full(101, 3.0, np.float32), np.full(101, np.nan, np.float32)], axis=1)
    scaling = RobustScaling.of(X)
    # The quartiles of 0..100 are 25 and 75; a normal's are 1.349 standard deviations apart.
    assert scaling.center.tolist() == [50, 3, 0]
    assert scaling.inverse.tolist() == pytest.approx([1.349 / 50, 0, 0])
    asked = np.array([[75, 9, np.nan], [1e9, 3, 1.0], [np.nan, np.nan, np.nan]], np.float32)
    expected = [[0.6745, 0, 0, 1 / 3], [5, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(scaling.apply(asked), expected, rtol=1e-6)


def test_a_mostly_constant_feature_is_scaled_by_its_standard_deviation():
    X = np.zeros((100, 1), np.float32)
    X[0] = 10
    assert RobustScaling.of(X).inverse[0] == pytest.approx(1 / X.std())


def test_a_damaged_or_foreign_file_is_refused_by_name(tmp_path):
    PREDICTOR.save(tmp_path)
    weights = tmp_path / "network.safetensors"
    for content in (weights.read_bytes()[:-10], b""):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match=r"network\.safetensors is not a readable network"):
            load_predictor("tcn", tmp_path)
    lively_predictor().save(tmp_path)
    shape = tmp_path / "network.json"
    shape.write_text(shape.read_text().replace('"channels": 8', '"channels": 16'))
    with pytest.raises(ValueError, match="size mismatch"):
        load_predictor("tcn", tmp_path)


def test_saving_twice_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        PREDICTOR.save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_what_was_loaded_tells_what_was_learned(tmp_path):
    model = TCNModel({"epochs": 2}, seed=1, threads=1).fit(ordered(300))
    model.save(tmp_path)
    again = TCNModel.load(tmp_path)
    assert again.tail_losses == model.tail_losses
    assert np.array_equal(again.importance(), model.importance())


def test_listing_the_model_does_not_wait_for_torch():
    code = (
        "import sys; import training.models.tcn as tcn; print(tcn.MODEL.context_bars)\n"
        "assert 'torch' not in sys.modules and 'safetensors' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, capture_output=True
    )
    assert done.stdout == b"94\n"
