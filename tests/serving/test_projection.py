"""The columns a model is given: literal values, one row like many, JSON to the last bit, shares given back."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.observations import Observations
from serving.projection import Component, Projection, projected

NAN = float("nan")
NAMES = ("a", "b", "c", "d")
SUMMARY = Component(("b", "d"), (1.0, 10.0), (2.0, 5.0), (0.6, -0.8))
PROJECTION = Projection(("a", "c"), (SUMMARY,))


def matrix(rows):
    return np.array(rows, dtype=np.float32)


def test_kept_columns_are_as_they_were_and_a_component_is_the_sum_of_scaled_members():
    X = matrix([[7, 3, 9, 20], [NAN, 1, 8, 10]])
    # (3 - 1) / 2 * 0.6 + (20 - 10) / 5 * -0.8 = -1.0; the second row is both centres.
    expected = matrix([[7, 9, -1.0], [NAN, 8, 0.0]])
    np.testing.assert_array_equal(PROJECTION.apply(X, NAMES), expected)


def test_a_missing_member_counts_as_its_centre_and_none_at_all_as_missing():
    X = matrix([[0, NAN, 0, 20], [0, NAN, 0, NAN]])
    values = PROJECTION.apply(X, NAMES)[:, 2]
    assert values[0] == np.float32(-1.6)
    assert math.isnan(values[1])


def test_features_are_found_by_name_wherever_they_stand():
    X = matrix([[7, 3, 9, 20]])
    moved = PROJECTION.apply(X[:, [3, 2, 1, 0]], NAMES[::-1])
    np.testing.assert_array_equal(moved, PROJECTION.apply(X, NAMES))
    with pytest.raises(ValueError, match="looks at c, d, which the features at hand lack"):
        PROJECTION.apply(X[:, :2], NAMES[:2])


def test_importance_goes_back_by_squared_loadings_and_keeps_its_sum():
    shares = PROJECTION.spread(np.array([0.2, 0.3, 0.5]), NAMES)
    assert shares == pytest.approx([0.2, 0.5 * 0.36, 0.3, 0.5 * 0.64])


def test_a_model_of_rows_gets_the_asked_rows_and_a_sequence_model_all_of_them():
    X = np.arange(12, dtype=np.float32).reshape(3, 4)
    rows = np.array([2, 0])
    asked = Observations(X, ("s",), np.array([0, 0, 0]), np.array([5, 6, 7]), rows)
    alone = projected(PROJECTION, asked, NAMES, 1)
    assert alone.X.shape == (2, 3)
    assert alone.bar.tolist() == [7, 5]
    swept = projected(PROJECTION, asked, NAMES, 2)
    assert swept.X.shape == (3, 3)
    np.testing.assert_array_equal(alone.asked, swept.asked)
    assert projected(None, asked, NAMES, 1) is asked


numbers = st.floats(-1e6, 1e6, width=32)
cells = st.one_of(numbers, st.just(NAN))


@st.composite
def projections(draw):
    kept = draw(st.lists(st.sampled_from(NAMES), unique=True))
    components = []
    for _ in range(draw(st.integers(0 if kept else 1, 2))):
        members = draw(st.lists(st.sampled_from(NAMES), min_size=2, unique=True))
        count = len(members)
        values = st.lists(st.floats(-1e3, 1e3), min_size=count, max_size=count)
        scale = st.lists(st.floats(1e-3, 1e3), min_size=count, max_size=count)
        components.append(
            Component(tuple(members), *(tuple(draw(one)) for one in (values, scale, values)))
        )
    return Projection(tuple(kept), tuple(components))


@given(projections())
def test_a_projection_survives_json_to_the_last_bit(projection):
    assert Projection.from_json(json.loads(json.dumps(projection.as_json()))) == projection


@given(projections(), st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=9))
def test_a_row_is_projected_alone_as_among_others(projection, rows):
    X = matrix(rows)
    together = projection.apply(X, NAMES)
    for number in range(len(X)):
        alone = projection.apply(X[number : number + 1], NAMES)
        np.testing.assert_array_equal(alone[0], together[number])
        picked = projection.apply(X, NAMES, np.array([number]))
        np.testing.assert_array_equal(picked, alone)
