"""Days without drift alarm as often as configured, days with it are found, and a reference survives a file."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from evaluation.drift.classifier import discriminability, fit_classifier
from evaluation.drift.histograms import bin_edges, count_pieces, distances
from evaluation.drift.judgement import judge_window
from evaluation.drift.null import FEWEST_WINDOWS, PIECES, fit_null
from evaluation.drift.reference import (
    DAILY,
    GROUPS,
    PULSE,
    Predictions,
    build_reference,
    from_arrays,
    to_arrays,
    whole_window,
)
from evaluation.drift.spread import fit_spread

SYMBOLS = 4
NAMES = ("slow", "quick", "skewed", "shared")


def panel(seed: int, bars: int) -> tuple[np.ndarray, np.ndarray]:
    """Stationary columns that remember for up to days, the last two of them alike over symbols."""
    rng = np.random.default_rng(seed)
    columns = []
    for place, memory in enumerate((0.95, 0.5, 0.9, 0.8)):
        shock = rng.standard_normal((bars + 200, SYMBOLS)) * (0.5 if place < 2 else 0.2)
        shock = shock + rng.standard_normal((bars + 200, 1))
        column = lfilter([1], [1, -memory], shock, axis=0)[200:]
        columns.append(np.exp(column / 3) if place == 2 else column)
    X = np.stack(columns, axis=2).reshape(-1, len(NAMES)).astype(np.float32)
    return X, np.repeat(np.arange(bars), SYMBOLS)


def predictions(seed: int, bar: np.ndarray) -> Predictions:
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet([4.0, 4.0, 4.0], bar.size)
    outcome = (rng.random((bar.size, 1)) > np.cumsum(proba, axis=1)).sum(axis=1)
    return Predictions(proba, 0.01 * (proba[:, 2] - proba[:, 0]), outcome, bar)


@pytest.fixture(scope="module")
def judged():
    X, bar = panel(1, 2000)
    reference = build_reference(NAMES, X, bar, predictions(2, bar), window_bars=70, bars_per_day=24)
    fresh, fresh_bar = panel(3, 70)
    return reference, fresh, fresh_bar, predictions(4, fresh_bar)


def test_a_week_of_hours_is_told_apart_from_its_reference_and_one_that_moved_is_far() -> None:
    X, bar = panel(1, 168 * 12)
    classifier = fit_classifier(X, bar, bin_edges(X)[0], window_bars=168)
    fresh, fresh_bar = panel(3, 168)
    usual, moved = (classifier.distance(at, fresh_bar) for at in (fresh, fresh + 9.0))
    assert np.isfinite(usual)
    assert usual < classifier.null.cut(0.01)[0] < moved
    assert np.isnan(classifier.distance(fresh[SYMBOLS * 24 :], fresh_bar[SYMBOLS * 24 :]))


def test_days_without_drift_alarm_no_more_often_than_the_level_allows() -> None:
    level, days, alarms = 0.05, 0, 0
    for seed in range(12):
        X, bar = panel(100 + seed, 4200)
        spread = fit_spread(NAMES, X[bar < 2100], bar[bar < 2100], window_bars=70)
        later = bar[bar >= 2100] - 2100
        # Windows side by side: days that have forgotten each other.
        windows = count_pieces(X[bar >= 2100], spread.edges, later // 70, 30)
        for counts in windows[1:]:
            days += 1
            alarms += bool((spread.judge(counts, level).joint_p < level).any())
    assert days == 348
    assert alarms <= binom.ppf(0.99, days, level)
    assert alarms >= binom.ppf(0.001, days, level), "cuts so wide that nothing is ever found"


def test_cuts_from_rows_taken_one_by_one_would_alarm_on_most_days() -> None:
    """The claim of the null's docstring: rows taken one by one vary far less than windows do."""
    X, bar = panel(5, 2100)
    spread = fit_spread(NAMES, X, bar, window_bars=70)
    rng = np.random.default_rng(6)
    shuffled = [
        distances(spread.count(X[rng.integers(0, len(X), 280)]), spread.counts, spread.positions)
        for _ in range(100)
    ]
    psi_cut = np.quantile([d[0, 0] for d in shuffled], 0.999)
    real = count_pieces(X, spread.edges, bar // 70, 30)
    above = np.mean([distances(c, spread.counts, spread.positions)[0, 0] > psi_cut for c in real])
    assert above > 0.5


def test_a_shifted_feature_is_found_by_name(judged) -> None:
    reference, X, bar, said = judged
    moved = X.copy()
    moved[:, 1] += 3 * X[:, 1].std()
    healthy = judge_window(reference, X, bar, said, level=0.01)
    found = judge_window(reference, moved, bar, said, level=0.01)
    assert [f for f in healthy if f.alarm] == []
    assert {f.feature for f in found if f.alarm and f.group == "features"} == {"quick"}
    alarm = next(f for f in found if f.alarm)
    assert alarm.observed > alarm.cut
    assert alarm.joint_p < 0.01 / len(GROUPS) * 1.01
    assert alarm.reason.endswith(f"is above {alarm.cut:.3g}")


def test_every_question_is_answered_and_alarms_agree_with_their_cut(judged) -> None:
    reference, X, bar, said = judged
    found = judge_window(reference, X, bar, said, level=0.01)
    assert {f.group for f in found} == set(DAILY)
    for one in found:
        assert one.alarm == (one.observed > one.cut)
        # The cut and the joint p are one statement.
        assert (one.joint_p < 0.01 / len(GROUPS)) == one.alarm


def test_predictions_that_became_sure_and_wrong_are_found_in_three_ways(judged) -> None:
    reference, X, bar, said = judged
    sure = np.full_like(said.proba, 0.02)
    sure[:, 0] = 0.96
    wrong = Predictions(sure, said.expected_return, np.full(bar.size, 2), bar)
    found = judge_window(reference, X, bar, wrong, level=0.01)
    alarms = {(f.group, f.feature, f.statistic) for f in found if f.alarm}
    assert ("predictions", "p_down", "psi") in alarms
    assert ("outcomes", "*", "brier") in alarms
    assert not any(f.alarm for f in found if f.group == "estimated"), "it trusts the calibration"


def test_a_window_is_told_apart_where_only_the_dependence_of_columns_changed() -> None:
    rng = np.random.default_rng(8)
    bar = np.repeat(np.arange(1400), SYMBOLS)
    X = rng.standard_normal((bar.size, 2)).astype(np.float32)
    classifier = fit_classifier(X, bar, bin_edges(X)[0], window_bars=70)
    later = np.repeat(np.arange(70), SYMBOLS)
    same = rng.standard_normal((later.size, 2)).astype(np.float32)
    p = [
        classifier.null.joint_p(
            classifier.null.deviations(np.array([classifier.distance(w, later)]))
        )
        for w in (same, same + np.array([0.4, -0.4], np.float32))
    ]
    assert p[0][0] > 0.05
    assert p[1][0] < 0.01
    assert np.isnan(classifier.distance(same[:8], later[:8]))


def test_weeks_of_slow_columns_without_drift_are_as_rarely_far_as_their_chance_says() -> None:
    week, columns, weeks = 168, 24, 52
    chances = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        shock = rng.standard_normal(((weeks + 20) * week + 1000, SYMBOLS, columns))
        X = lfilter([1], [1, -0.995], shock + shock[:, :1], axis=0)[1000:]
        X = X.reshape(-1, columns).astype(np.float32)
        bar = np.repeat(np.arange((weeks + 20) * week), SYMBOLS)
        known = bar < weeks * week
        edges = bin_edges(X[known])[0]
        classifier = fit_classifier(X[known], bar[known], edges, window_bars=week)
        for begin in range(weeks * week, bar[-1], week):
            seen = (bar >= begin) & (bar < begin + week)
            told = classifier.null.deviations(np.array([classifier.distance(X[seen], bar[seen])]))
            chances.append(classifier.null.joint_p(told)[0])
    # Weeks of one column remember each other: half of them count.
    for level in (0.1, 0.01):
        alarms = int((np.array(chances) < level).sum())
        assert binom.sf(alarms // 2 - 1, len(chances) // 2, level) > 0.01


def test_how_far_samples_are_apart_is_counted_in_their_deviations() -> None:
    these, those = np.array([9.0, 11.0]), np.array([0.0, 4.0])
    assert discriminability(these, those) == pytest.approx(8.0 / np.sqrt(2.5))
    assert discriminability(np.ones(3), np.ones(3)) == 0.0


def test_folklore_alarms_at_a_quarter_and_by_nothing_else(judged) -> None:
    reference, X, bar, said = judged
    found = judge_window(reference, X, bar, said, level=0.01, folklore=True)
    for one in (f for f in found if f.group == "features"):
        assert one.alarm == (one.statistic == "psi" and one.observed > 0.25)
    assert any(f.alarm for f in found), "it cries wolf on a window like any other"


def test_only_the_statistics_that_were_asked_for_are_told(judged) -> None:
    reference, X, bar, said = judged
    found = judge_window(reference, X, bar, said, level=0.01, statistics=("ks",))
    assert {f.statistic for f in found if f.group == "features"} == {"ks"}


def test_an_empty_window_is_not_measured_and_alarms_of_nothing(judged) -> None:
    reference, X, bar, _ = judged
    nothing = Predictions(np.empty((0, 3)), np.empty(0), np.empty(0, np.int64), bar[:0])
    found = judge_window(reference, X[:0], bar[:0], nothing, level=0.01)
    assert not any(f.alarm for f in found)
    assert all(f.observed is None and f.reason for f in found)


def test_a_reference_reads_back_as_it_was_and_judges_the_same(judged) -> None:
    reference, X, bar, said = judged
    again = from_arrays(*to_arrays(reference))
    before = judge_window(reference, X, bar, said, level=0.01)
    after = judge_window(again, X, bar, said, level=0.01)
    assert [replace(f, observed=None, p_value=None, joint_p=None) for f in before] == [
        replace(f, observed=None, p_value=None, joint_p=None) for f in after
    ]
    for one, other in zip(before, after, strict=True):
        assert one.observed == pytest.approx(other.observed, rel=1e-2)


def test_a_reference_of_before_there_was_a_pulse_still_judges_and_says_so(judged) -> None:
    arrays, about = to_arrays(judged[0])
    old = from_arrays(
        {name: array for name, array in arrays.items() if not name.startswith("pulse/")},
        {name: value for name, value in about.items() if name != "pulse"},
    )
    assert old.pulse is None
    assert "logged before there was a pulse" in old.missing[PULSE]
    assert {f.group for f in judge_window(old, *judged[1:], level=0.01)} == set(DAILY)


def test_a_reference_that_is_not_whole_is_refused(judged) -> None:
    arrays, about = to_arrays(judged[0])
    with pytest.raises(ValueError, match="format 7, not 2"):
        from_arrays(arrays, {**about, "format": 7})
    with pytest.raises(ValueError, match="lacks"):
        from_arrays({k: v for k, v in arrays.items() if k != "features/counts"}, about)


def test_what_cannot_be_learned_is_missing_with_its_reason() -> None:
    X, bar = panel(1, 200)
    reference = build_reference(NAMES, X, bar, predictions(2, bar), window_bars=70, bars_per_day=24)
    assert set(reference.missing) == set(GROUPS)
    found = judge_window(reference, X, bar, predictions(2, bar), level=0.01)
    assert {f.statistic for f in found} == {"not_measured"}
    assert all("windows side by side" in f.reason for f in found)
    assert "holds 8 days" in reference.missing[PULSE]
    assert PULSE not in {f.group for f in found}, "the hours tell it, not the day"


def test_windows_are_whole_numbers_of_pieces() -> None:
    assert [whole_window(bars) for bars in (1, 21, 24, 168)] == [7, 21, 21, 168]


def test_a_null_needs_windows_side_by_side_and_something_measured() -> None:
    few = np.zeros(((FEWEST_WINDOWS - 1) * PIECES, 1))
    with pytest.raises(ValueError, match="5 are needed"):
        fit_null(few)
    with pytest.raises(ValueError, match="no statistic"):
        fit_null(np.full((70, 2), np.nan))
