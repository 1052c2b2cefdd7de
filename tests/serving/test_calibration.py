"""Applying a calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from serving.calibration import calibrate, log_odds

ROWS = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])


def test_no_calibration_changes_nothing():
    assert calibrate(ROWS, {"kind": "none"}) is ROWS


def test_a_sigmoid_of_slope_one_keeps_probabilities_and_of_slope_zero_gives_the_base_rate():
    same = calibrate(ROWS, {"kind": "sigmoid", "slope": [1, 1, 1], "intercept": [0, 0, 0]})
    assert same == pytest.approx(ROWS)
    flat = calibrate(
        ROWS, {"kind": "sigmoid", "slope": [0, 0, 0], "intercept": log_odds(ROWS[0]).tolist()}
    )
    assert flat == pytest.approx(np.array([ROWS[0], ROWS[0]]))


def test_isotonic_curves_are_read_by_interpolation():
    curves = {"kind": "isotonic", "x": [[0.0, 1.0]] * 3, "y": [[0.0, 0.5], [0.0, 1.0], [0.0, 0.5]]}
    # (0.1, 0.5, 0.15) of a sum of 0.75.
    assert calibrate(ROWS[:1], curves) == pytest.approx(np.array([[0.1, 0.5, 0.15]]) / 0.75)


def test_a_row_whose_curves_are_all_zero_keeps_its_raw_probabilities():
    curves = {"kind": "isotonic", "x": [[0.0, 1.0]] * 3, "y": [[0.0, 0.0]] * 3}
    assert calibrate(ROWS, curves) == pytest.approx(ROWS)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'beta' is not known"):
        calibrate(ROWS, {"kind": "beta"})


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda p: sum(p) > 1e-3),
    st.lists(st.floats(0, 5), min_size=3, max_size=3),
    st.lists(st.floats(-5, 5), min_size=3, max_size=3),
)
@budget(max_examples=100)
def test_rows_sum_to_one_whatever_the_curves(row, slope, intercept):
    proba = np.array([row]) / sum(row)
    out = calibrate(proba, {"kind": "sigmoid", "slope": slope, "intercept": intercept})
    assert out.sum() == pytest.approx(1)
    assert (out >= 0).all()
