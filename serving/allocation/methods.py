"""Portfolios of trailing returns, one function a method, computed by skfolio.

skfolio takes two seconds to import: it is imported by the first portfolio, not by the engine.
"""

import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from serving.compiled import Floats

# Weights are whole millionths: coarser than a solver's error, so that its dust is no wish to trade.
DECIMALS = 6

# How near to its optimum a convex program is solved, relative to a number of order one. One in some
# hundreds stalls a digit short of the fine gap and is then solved to the coarse one: weights differ
# by about a thousandth of themselves at most.
FINE_GAP, COARSE_GAP = 1e-10, 1e-7

# Which warnings are errors is a setting of the whole process, here and inside skfolio; backtests run
# in threads.
_ONE_AT_A_TIME = threading.Lock()

_NEARLY_SINGULAR = "The covariance matrix is not positive definite"


class Case(NamedTuple):
    """What a method sees: numbers of order one, symbols in the order of their volatility.

    Attributes
    ----------
    returns : float64 (T, n)
        One-bar returns in units of the symbols' root mean square volatility; no NaN.
    expected : float64 (n,)
        The model's expected return of one bar, in the same unit.
    confidence : float64 (n,)
        Of that expectation against the window's mean, in (0, 1); see `black_litterman`.
    risk_aversion : float
        lambda of the utility w.mu - lambda w.S.w, in the same unit.
    """

    returns: Floats
    expected: Floats
    confidence: Floats
    risk_aversion: float


def equal_risk(case: Case) -> Floats:
    """Weight by inverse volatility: w_i ~ 1 / sigma_i, fully invested."""
    from skfolio.optimization import InverseVolatility

    return _weights(InverseVolatility(), case)


def hrp(case: Case) -> Floats:
    """Split risk down a Ward tree of correlation distances with ordered leaves, fully invested.

    References
    ----------
    Lopez de Prado (2016), Building diversified portfolios that outperform out of sample.
    """
    from skfolio.optimization import HierarchicalRiskParity

    return _weights(HierarchicalRiskParity(), case)


def risk_parity(case: Case) -> Floats:
    """Let every symbol contribute the same share of risk: w_i (S w)_i = c, fully invested.

    The shares of variance and of its root are the same; the root is easier on a solver.

    References
    ----------
    Maillard, Roncalli and Teiletche (2010), The properties of equally weighted risk contribution
    portfolios.
    """
    from skfolio import RiskMeasure
    from skfolio.optimization import RiskBudgeting

    return _solution(RiskBudgeting(risk_measure=RiskMeasure.STANDARD_DEVIATION), case)


def cvar(case: Case) -> Floats:
    """Minimise the mean loss of the worst 5 % of the window's bars, fully invested.

    References
    ----------
    Rockafellar and Uryasev (2000), Optimization of conditional value-at-risk.
    """
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk

    return _solution(MeanRisk(risk_measure=RiskMeasure.CVAR, cvar_beta=0.95), case)


def mean_variance(case: Case) -> Floats:
    """Maximise w.mu - lambda w.S.w with the model's mu, keeping cash where that is better.

    With lambda = 1 / (2 f) this is the f-fractional Kelly bet on all symbols at once: without
    correlation and below full investment, w_i = f mu_i / sigma_i^2, the default sizing.

    References
    ----------
    Markowitz (1952), Portfolio selection; Thorp (2006), section 7, for several Kelly bets.
    """
    return _most_useful(case, prior=None)


def black_litterman(case: Case) -> Floats:
    """Maximise the same utility with a mu between the market's and the model's.

    The prior is the mu for which equal weights, fully invested, are the best, known as well as a mean
    of T bars is: tau = 1 / T. Each expectation of the model is an absolute view, known as well as the
    model knows the mean of its horizon h: Omega_i = variance_i / h_i^2, so that a calm T of 720
    outweighs a view over 24 bars thirty to one. In Idzorek's terms the view's confidence is
    tau S_ii / (tau S_ii + Omega_i).

    References
    ----------
    Black and Litterman (1991), Combining investor views with market equilibrium; Idzorek (2007), A
    step-by-step guide to the Black-Litterman model.
    """
    from skfolio.moments import EquilibriumMu
    from skfolio.prior import BlackLitterman, EmpiricalPrior

    names = [f"s{i}" for i in range(case.expected.size)]
    prior = BlackLitterman(
        views=[f"{name} = {mu!r}" for name, mu in zip(names, case.expected.tolist(), strict=True)],
        groups=[names],
        prior_estimator=EmpiricalPrior(
            mu_estimator=EquilibriumMu(risk_aversion=2 * case.risk_aversion)
        ),
        view_confidences=case.confidence.copy(),
        tau=1 / len(case.returns),
    )
    return _most_useful(case, prior)


METHODS: dict[str, Callable[[Case], Floats]] = {
    method.__name__: method
    for method in (equal_risk, hrp, mean_variance, risk_parity, black_litterman, cvar)
}


def allocate(
    method: str,
    returns: Floats,
    expected: Floats,
    variance: Floats,
    horizon_bars: Floats,
    *,
    kelly_fraction: float,
) -> Floats:
    """Return the weights of a long-only portfolio.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    returns : float64 (T, n)
        Simple one-bar returns of n symbols over the same T bars; no NaN. The order of the symbols
        does not matter to their weights.
    expected : float64 (n,)
        The model's expected return over `horizon_bars`; read by `mean_variance` and
        `black_litterman`.
    variance : float64 (n,)
        Variance of the return over the same horizon; read by `black_litterman`.
    horizon_bars : float64 (n,)
    kelly_fraction : float
        f; the risk aversion of a utility is 1 / (2 f).

    Returns
    -------
    float64 (n,)
        Not negative, in millionths, sum at most 1; the rest is cash.

    Raises
    ------
    ValueError
        If the method is not known, the returns are not finite or one symbol's do not vary, or no
        portfolio was found. Equal weights are never the answer to a failure.
    """
    if method not in METHODS:
        raise ValueError(f"allocation {method!r} is not one of {', '.join(METHODS)}")
    # One layout, one order: how sums are rounded must depend on nothing but the numbers.
    returns = np.array(returns, order="C")
    volatility = _volatility(method, returns)
    order = np.argsort(volatility, kind="stable")
    unit = float(np.sqrt(np.mean(volatility[order] ** 2)))
    case = Case(
        returns=np.ascontiguousarray(returns[:, order]) / unit,
        expected=(expected / horizon_bars / unit)[order],
        confidence=(1 / (1 + len(returns) * variance / (horizon_bars * volatility) ** 2))[order],
        risk_aversion=unit / (2 * kelly_fraction),
    )
    weights = np.empty_like(volatility)
    weights[order] = _whole(_solve(method, case))
    return weights


def _volatility(method: str, returns: Floats) -> Floats:
    if returns.shape[0] < 2 or not np.isfinite(returns).all():
        raise ValueError(
            f"{method}: returns {returns.shape} are too few or not finite; leave incomplete bars out"
        )
    if (still := np.ptp(returns, axis=0) == 0).any():
        columns = ", ".join(str(i) for i in np.flatnonzero(still))
        raise ValueError(f"{method}: returns of columns {columns} do not vary; leave them out")
    volatility: Floats = returns.std(axis=0, ddof=1)
    return volatility


def _solve(method: str, case: Case) -> Floats:
    from skfolio.exceptions import SkfolioError

    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            # Two symbols that move as one: skfolio lifts the zero eigenvalue, which is no failure.
            warnings.filterwarnings("ignore", _NEARLY_SINGULAR, UserWarning)
            return METHODS[method](case)
    except (SkfolioError, UserWarning, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        bars, n = case.returns.shape
        raise ValueError(
            f"{method} found no portfolio of {n} symbols over {bars} bars: {error}"
        ) from error


def _whole(weights: Floats) -> Floats:
    rounded = np.clip(np.round(weights, DECIMALS), 0.0, None)
    rounded[np.argmax(rounded)] -= max(rounded.sum() - 1.0, 0.0)
    return rounded


def _weights(estimator: Any, case: Case) -> Floats:
    return np.asarray(estimator.fit(case.returns).weights_, np.float64)


def _solution(program: Any, case: Case) -> Floats:
    try:
        return _weights(program.set_params(solver_params=_within(FINE_GAP)), case)
    except UserWarning:
        return _weights(program.set_params(solver_params=_within(COARSE_GAP)), case)


def _within(gap: float) -> dict[str, float]:
    return {"tol_gap_abs": gap, "tol_gap_rel": gap}


def _most_useful(case: Case, prior: Any) -> Floats:
    from cvxpy.atoms.affine.wraps import psd_wrap
    from cvxpy.atoms.quad_form import quad_form
    from skfolio.optimization import MeanRisk, ObjectiveFunction

    # As a quadratic form of order one: skfolio's own utility, with the variance as a squared cone, is
    # solved to four digits only where volatilities are far apart, or not at all.
    def utility(w: Any, model: Any) -> Any:
        known = model.prior_estimator_.return_distribution_
        mu = case.expected if prior is None else known.mu
        order = max(case.risk_aversion, float(np.abs(mu).max()))
        variance = quad_form(w, psd_wrap(known.covariance))
        return mu @ w / order - case.risk_aversion / order * variance

    estimator = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_RETURN,
        overwrite_expected_return=utility,
        prior_estimator=prior,
        budget=None,
        min_budget=0.0,
        max_budget=1.0,
    )
    return _solution(estimator, case)
