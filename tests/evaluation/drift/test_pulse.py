"""The pulse of an hour: what it counts, how often it alarms without drift, and what it finds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from evaluation.drift.histograms import bin_edges
from evaluation.drift.judgement import judge_pulse
from evaluation.drift.pulse import Pulse, fit_pulse, log_odds, pulse_arrays, pulse_from
from evaluation.drift.reference import GROUPS
from evaluation.drift.tail import Tail

SYMBOLS, COLUMNS, HOURS = 5, 20, 24
NAMES = tuple(f"column_{i}" for i in range(COLUMNS))
LEVEL = 0.3
SHARE = LEVEL / len(GROUPS)
"""Chance of a day that any of its hours alarms: 5 %."""


def panel(seed: int, days: int) -> np.ndarray:
    """Stationary columns (bars, symbols, columns) that remember for up to days and are stormy together."""
    rng, bars = np.random.default_rng(seed), days * HOURS + 500
    storm = np.exp(0.4 * lfilter([0.2], [1, -0.98], rng.standard_normal(bars)))
    shock = rng.standard_normal((bars, SYMBOLS, COLUMNS)) + rng.standard_normal((bars, 1, COLUMNS))
    shock *= storm[:, None, None]
    memories = np.repeat((0.0, 0.6, 0.9, 0.97), COLUMNS // 4)
    columns = [lfilter([1], [1, -m], shock[:, :, i], axis=0) for i, m in enumerate(memories)]
    return np.stack(columns, axis=2)[500:].astype(np.float32)


def learned(X: np.ndarray) -> Pulse:
    rows = X.reshape(-1, COLUMNS)
    # The bar at midnight ends its day: a training's first bar is known an hour later.
    bar = np.repeat(np.arange(len(X)) + 1, SYMBOLS)
    return fit_pulse(NAMES, rows, bar, bin_edges(rows)[0], bars_per_day=HOURS)


@pytest.fixture(scope="module")
def pulse() -> Pulse:
    return learned(panel(1, 200))


def by_hand(**changed) -> Pulse:
    low, high = np.array([-1, -np.inf, -np.inf], np.float32), np.array([1, 2, np.inf], np.float32)
    tail = Tail(threshold=-2.0, share=0.1, mean_excess=0.5, clusters=10.0)
    return replace(Pulse(("a", "b", "c"), low, high, 4.0, tail), **changed)


def test_cells_below_the_low_end_and_from_the_high_end_on_are_outermost() -> None:
    """The third column has no rare end; missing and infinite values count nowhere."""
    X = np.array([[-1.5, 2.0, 9.0], [1.0, -9.0, -9.0], [np.nan, np.inf, 0.0]], np.float32)
    assert by_hand().count(X) == (3, 4)


def test_a_bar_as_usual_and_a_bar_beyond_the_cut() -> None:
    pulse, level = by_hand(), 0.006
    calm = judge_pulse(pulse, np.zeros((2, 3), np.float32), level=level)
    assert (calm.observed, calm.n, calm.alarm, calm.reason) == (0.0, 4, False, "")
    assert calm.joint_p == 0.1
    wild = judge_pulse(pulse, np.full((2, 3), 5, np.float32), level=level)
    assert (wild.observed, wild.p_value, wild.alarm) == (1.0, None, True)
    # log odds of a thousandth: -2 + 10 * 0.5 * (100 ** 0.1 - 1); as a share of four cells.
    assert wild.cut == pytest.approx((5 / (1 + np.exp(-0.92447)) - 0.5) / 4, abs=1e-4)
    assert wild.reason == f"1 is above {wild.cut:.3g}"


def test_the_alarm_the_cut_and_the_chance_are_one_statement(pulse) -> None:
    for outermost in range(101):
        alarm = outermost / 100 > pulse.cut(SHARE, 100)
        assert alarm == (pulse.chance(outermost, 100) < SHARE)


def test_an_hour_with_less_than_half_of_its_values_is_not_measured(pulse) -> None:
    hour = np.zeros((SYMBOLS, COLUMNS), np.float32)
    hour[:3] = np.nan
    found = judge_pulse(pulse, hour, level=LEVEL)
    assert (found.statistic, found.observed, found.alarm) == ("not_measured", None, False)
    assert found.reason == "40 values in the hour; 100 are usual, and half of them needed"


def test_days_without_drift_alarm_no_more_often_than_the_level_allows() -> None:
    days, alarms = 0, 0
    for seed in range(8):
        X = panel(10 + seed, 420)
        cut, later = learned(X[: 200 * HOURS]), X[220 * HOURS :].reshape(200, HOURS, SYMBOLS, -1)
        outermost = (later < cut.low) | (later >= cut.high)
        largest = outermost.sum(axis=(2, 3)).max(axis=1)
        days += largest.size
        alarms += int((largest / (SYMBOLS * COLUMNS) > cut.cut(SHARE, SYMBOLS * COLUMNS)).sum())
    assert days == 1600
    # Stormy days come in runs, and eight trainings saw some of them: a few hundred draws, not 1600.
    assert alarms / days <= binom.ppf(0.99, 400, SHARE) / 400
    assert alarms / days >= binom.ppf(0.01, 400, SHARE) / 400, "cuts that nothing ever exceeds"


def test_cuts_from_hours_taken_one_by_one_would_alarm_on_several_times_the_days(pulse) -> None:
    """Why a day is one draw: the fullest of its hours is, far more often than any single one, full."""
    hours = panel(2, 200)
    outermost = ((hours < pulse.low) | (hours >= pulse.high)).sum(axis=(1, 2))
    naive = np.quantile(outermost, 1 - SHARE)
    by_day = outermost.reshape(-1, HOURS).max(axis=1)
    assert (by_day > naive).mean() > 3 * SHARE


def test_one_hour_of_a_market_elsewhere_is_found_and_one_odd_column_is_not(pulse) -> None:
    X = panel(3, 2)
    deviation = X.std(axis=(0, 1))
    assert not judge_pulse(pulse, X[-1], level=0.01).alarm
    assert judge_pulse(pulse, X[-1] + 4 * deviation, level=0.01).alarm
    odd = X[-1].copy()
    odd[:, 3] += 50 * deviation[3]
    assert not judge_pulse(pulse, odd, level=0.01).alarm


def test_a_place_that_much_of_the_training_fills_is_no_rare_place() -> None:
    X = panel(4, 70)
    X[:, :, 0] = np.arange(len(X))[:, None] % 3
    X[:, :, 1] = np.nan
    found = learned(X)
    assert (found.low[0], found.high[0]) == (0.0, np.inf), "below all is rare, two is a third"
    assert (found.low[1], found.high[1]) == (-np.inf, np.inf)
    assert found.cells == SYMBOLS * (COLUMNS - 1)


def test_short_days_and_thin_hours_are_no_draws() -> None:
    X = panel(5, 64)
    X[10 * HOURS : 11 * HOURS - 11] = np.nan
    X[20 * HOURS, :4] = np.nan
    X[20 * HOURS, 4] = 1e9
    rows, bar = X.reshape(-1, COLUMNS), np.repeat(np.arange(len(X)) + 1, SYMBOLS)
    edges = bin_edges(rows)[0]
    found = fit_pulse(NAMES, rows, bar, edges, bars_per_day=HOURS)
    assert found.tail.share == 11 / 64, "63 of 64 days: eleven hours are less than half a day"
    assert found.tail.threshold + found.tail.mean_excess < 0, (
        "the hour with one wild symbol is none"
    )
    with pytest.raises(ValueError, match="holds 59 days"):
        fit_pulse(NAMES, rows[: 60 * HOURS * SYMBOLS], bar[: 60 * HOURS * SYMBOLS], edges,
                  bars_per_day=HOURS)  # fmt: skip


def test_a_pulse_reads_back_as_it_was_and_refuses_other_names(pulse) -> None:
    arrays = pulse_arrays(pulse)
    again = pulse_from(arrays, NAMES, pulse.cells)
    assert (again.tail, again.cells) == (pulse.tail, pulse.cells)
    assert np.array_equal(again.low, pulse.low)
    assert np.array_equal(again.high, pulse.high)
    with pytest.raises(ValueError, match="for 2 columns"):
        pulse_from(arrays, NAMES[:2], pulse.cells)


def test_log_odds_are_finite_at_both_ends() -> None:
    found = log_odds(np.array([0, 5, 10]), np.array([10, 10, 10]))
    assert found == pytest.approx([np.log(0.5 / 10.5), 0.0, np.log(10.5 / 0.5)])
