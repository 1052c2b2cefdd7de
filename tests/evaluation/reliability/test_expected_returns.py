import numpy as np
import polars as pl
import pytest
from scipy.stats import linregress, spearmanr

from evaluation.reliability import return_reliability


def test_slope_and_correlations_are_those_of_scipy(honest) -> None:
    found = return_reliability(honest)
    x, y = honest["expected_return"].to_numpy(), honest["realised_return"].to_numpy()
    line = linregress(x, y)
    assert found.slope.value == pytest.approx(line.slope)
    assert found.intercept == pytest.approx(line.intercept, abs=1e-12)
    assert found.pearson.value == pytest.approx(line.rvalue)
    assert found.spearman.value == pytest.approx(spearmanr(x, y).statistic)
    half = 1.645 * line.stderr
    assert found.slope.lower == pytest.approx(line.slope - half, abs=0.25 * half)
    assert found.slope.upper == pytest.approx(line.slope + half, abs=0.25 * half)


def test_an_honest_expectation_has_slope_one_and_a_bold_one_less(honest, bold) -> None:
    found = return_reliability(honest)
    assert found.slope.lower < 1.0 < found.slope.upper
    assert return_reliability(bold).slope.upper < 0.8
    table = found.curve
    assert table["rows"].to_list() == [600] * 10
    assert (table["expected_return"] - table["realised_return"]).abs().max() < 0.003
    assert len(found.as_json()["curve"]) == 10


def test_expectations_without_any_link_have_an_interval_around_zero(honest) -> None:
    shuffled = honest.with_columns(
        expected_return=pl.Series(np.random.default_rng(1).permutation(honest["expected_return"]))
    )
    found = return_reliability(shuffled)
    assert found.pearson.lower < 0.0 < found.pearson.upper
    assert found.spearman.lower < 0.0 < found.spearman.upper


def test_an_expectation_that_never_varies_is_refused(honest) -> None:
    with pytest.raises(ValueError, match="what never varies has no correlation"):
        return_reliability(honest.with_columns(expected_return=pl.lit(0.01)))
