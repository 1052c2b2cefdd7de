"""The bounds of an interval: each volatility gets those of its group."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from serving.bounds import ResidualBounds

GROUPED = ResidualBounds((0.01, 0.02), ((-1.0, 1.5), (-2.0, 2.5), (-3.0, 3.5)))


def test_a_volatility_gets_the_bounds_of_its_group_and_one_that_is_not_known_none():
    lower, upper = GROUPED.at(np.array([0.0, 0.01, 0.015, 0.02, 0.5, np.nan]))
    assert lower[:5].tolist() == [-1.0, -1.0, -2.0, -2.0, -3.0]
    assert upper[:5].tolist() == [1.5, 1.5, 2.5, 2.5, 3.5]
    assert np.isnan([lower[5], upper[5]]).all()


def test_one_group_shares_its_bounds():
    lower, upper = ResidualBounds((), ((-1.0, 2.0),)).at(np.array([0.1, 9.0]))
    assert (lower.tolist(), upper.tolist()) == ([-1.0, -1.0], [2.0, 2.0])


def test_bounds_survive_json():
    assert ResidualBounds.from_json(json.loads(json.dumps(asdict(GROUPED)))) == GROUPED


def test_a_group_without_bounds_is_refused():
    with pytest.raises(ValueError, match="1 pairs of bounds for 1 edges; one more is needed"):
        ResidualBounds.from_json({"edges": [0.1], "bounds": [[-1, 1]]})
