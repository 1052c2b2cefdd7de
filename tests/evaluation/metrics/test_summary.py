"""The whole summary, against formulas of others.

Literals marked quantstats come from quantstats 0.0.86 and literals marked empyrical from
empyrical-reloaded 0.5, run once over this record (hourly index, periods = 8760); those marked scipy from
scipy.stats 1.17 or from the formula in the comment written out in numpy.
"""

import numpy as np
import pytest

from evaluation import metrics

HOURS = 8760.0
T = np.arange(1.0, 2001)
BENCHMARK = 0.01 * np.sin(T**2) + 0.004 * np.cos(3 * T) + 0.0004
RETURNS = 0.5 * BENCHMARK + 0.003 * np.sin(7 * T**1.5) ** 3 + 0.0001
EQUITY = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + RETURNS]))


@pytest.fixture(scope="module")
def summary() -> dict[str, float]:
    return metrics.summarise(
        EQUITY, np.zeros(2000), RETURNS, traded=0.0, fees=0.0, fills=0, bars_per_year=HOURS
    )


AGREED = {
    "total_return": 0.811440468403307,  # quantstats comp
    "annual_return": 12.494146115948787,  # quantstats cagr
    "volatility": 0.376137568534052,  # quantstats volatility
    "sharpe": 7.107312740465679,  # quantstats sharpe, empyrical sharpe_ratio
    "sortino": 10.708442591894972,  # quantstats sortino, empyrical sortino_ratio
    "calmar": 245.53158132733708,  # quantstats calmar, empyrical calmar_ratio
    "omega": 1.1963770252422874,  # quantstats omega, empyrical omega_ratio
    "gain_to_pain": 0.19637702524228748,  # quantstats gain_to_pain_ratio(resolution="h")
    "max_drawdown": -0.050886106171783574,  # quantstats, empyrical max_drawdown
    "value_at_risk": 0.006100401261116956,  # empyrical value_at_risk, there as a return
    "expected_shortfall": 0.007051530553628411,  # quantstats cvar("historical"), empyrical
    "tail_ratio": 1.0922878179847033,  # quantstats, empyrical tail_ratio
    "profit_factor": 1.1963770252422874,  # quantstats profit_factor, of bars
    "win_rate": 0.5295,  # quantstats win_rate, of bars
    "payoff_ratio": 1.063069670210569,  # quantstats payoff_ratio, of bars
    "skew": -0.005629331876882442,  # scipy.stats.skew
    "kurtosis": -0.8345514105053802,  # scipy.stats.kurtosis
    "probabilistic_sharpe": 0.999863533978326,  # scipy.stats.norm.cdf of the formula
    "sharpe_error": 1.9527073269032589,  # statsmodels cov_hac of the influence, 22 lags
}


@pytest.mark.parametrize("name", AGREED)
def test_a_figure_agrees_with_the_library_that_defines_it_alike(
    summary: dict[str, float], name: str
) -> None:
    assert summary[name] == pytest.approx(AGREED[name], rel=1e-9)


def test_where_quantstats_differs_the_difference_is_the_definition(
    summary: dict[str, float],
) -> None:
    mean, deviation = np.mean(RETURNS), np.std(RETURNS, ddof=1)
    # quantstats value_at_risk is that of a normal with the sample's moments: mean - 1.64485 deviation
    assert mean - 1.6448536269514722 * deviation == pytest.approx(-0.006305137012272196)
    # ... and its cvar, unless asked for the historical one, that normal's shortfall
    density = np.exp(-(1.6448536269514722**2) / 2) / np.sqrt(2 * np.pi)
    assert mean - density / 0.05 * deviation == pytest.approx(-0.007984422782803955)
    # its recovery_factor adds returns where ours compounds them
    assert RETURNS.sum() / -summary["max_drawdown"] == pytest.approx(11.994407748672893)
    assert summary["recovery_factor"] == pytest.approx(0.811440468403307 / 0.050886106171783574)
    # its ulcer_index divides by n - 1 and ours by n
    assert summary["ulcer_index"] * np.sqrt(2000 / 1999) == pytest.approx(0.017258331518893916)
    # its skew and kurtosis are the bias-corrected ones of pandas
    corrected = np.sqrt(2000 * 1999) / 1998
    assert summary["skew"] * corrected == pytest.approx(-0.005633557925878542)
    excess = (2001 * summary["kurtosis"] + 6) * 1999 / (1998 * 1997)
    assert excess == pytest.approx(-0.8336355402648788)
    # ... which its probabilistic_sharpe_ratio reads, taking the bars for independent
    independent = metrics.probabilistic_sharpe(RETURNS, HOURS, lags=0)
    assert independent == pytest.approx(0.9996525473414503, abs=1e-8)


def test_the_comparison_agrees_with_scipy_and_quantstats() -> None:
    figures = metrics.compare(RETURNS, BENCHMARK, HOURS)
    assert figures["beta"] == pytest.approx(0.49766964687604925)  # scipy linregress
    assert figures["alpha"] == pytest.approx(0.00010655890686990334 * 8760)  # its intercept a year
    assert figures["alpha"] == pytest.approx(0.933456, abs=1e-6)  # quantstats greeks
    assert figures["correlation"] == pytest.approx(0.9126517808863468)  # scipy linregress
    # quantstats information_ratio (and empyrical excess_sharpe) is not annualised
    assert figures["information_ratio"] == pytest.approx(-0.02318838308193143 * np.sqrt(8760))
    # empyrical alpha_beta compounds the alpha of a bar
    alpha = (1 + figures["alpha"] / HOURS) ** HOURS - 1
    assert alpha == pytest.approx(1.54315718)


def test_the_summary_takes_counts_and_costs_as_they_are() -> None:
    summary = metrics.summarise(
        np.array([100.0, 110.0, 105.0]), np.array([50.0, 50.0]), np.array([-5.0]),
        traded=60.0, fees=0.06, fills=2, bars_per_year=HOURS,
    )  # fmt: skip
    assert summary["total_return"] == pytest.approx(0.05)
    assert summary["fees"] == 0.06
    assert summary["fills"] == 2
    assert summary["trades"] == 1
    assert summary["win_rate"] == 0
    assert summary["expectancy"] == -5.0
