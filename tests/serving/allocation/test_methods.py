import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from serving.allocation import METHODS, allocate

Floats = NDArray[np.float64]

# Three columns that have mean zero and no correlation; a variance of 8/7 with one degree of freedom.
UNCORRELATED = np.array(
    [
        [1, 1, 1],
        [1, 1, -1],
        [1, -1, 1],
        [1, -1, -1],
        [-1, 1, 1],
        [-1, 1, -1],
        [-1, -1, 1],
        [-1, -1, -1],
    ],
    np.float64,
)
VOLATILITY = np.array([0.01, 0.02, 0.04])
HOURS = 24.0


def portfolio(
    method: str,
    returns: Floats,
    expected: float | Floats = 0.01,
    variance: float = 0.0025,
    kelly_fraction: float = 0.25,
) -> Floats:
    n = returns.shape[1]
    return allocate(
        method,
        returns,
        np.broadcast_to(np.asarray(expected, np.float64), n),
        np.full(n, variance),
        np.full(n, HOURS),
        kelly_fraction=kelly_fraction,
    )


def market(seed: int, n: int, bars: int = 200) -> Floats:
    """Returns with a common factor, fat tails, and volatilities that differ by up to ten times."""
    rng = np.random.default_rng(seed)
    common = rng.standard_t(4, (bars, 1))
    own = rng.standard_t(4, (bars, n))
    return (common + own) * rng.uniform(0.002, 0.02, n)


@pytest.mark.parametrize("method", ["equal_risk", "risk_parity"])
def test_without_correlation_weights_are_as_one_over_volatility(method: str) -> None:
    # 1 : 1/2 : 1/4 = 4/7 : 2/7 : 1/7
    weights = portfolio(method, UNCORRELATED * VOLATILITY)
    assert weights == pytest.approx([0.571429, 0.285714, 0.142857], abs=2e-6)


def test_hrp_without_correlation_splits_by_inverse_variance() -> None:
    # 1 : 1/4 : 1/16 = 16/21 : 4/21 : 1/21, whatever the tree
    weights = portfolio("hrp", UNCORRELATED * VOLATILITY)
    assert weights == pytest.approx([0.761905, 0.190476, 0.047619], abs=1e-6)


def test_mean_variance_without_correlation_is_the_kelly_bet_on_each_symbol() -> None:
    # 0.25 x mu / 24 / (8/7 sigma^2) = 0.1, 0.2, 0.3 for these three
    expected = np.array([0.1, 0.8, 4.8]) * 24 / 0.25 * 8 / 7 * 1e-4
    weights = portfolio("mean_variance", UNCORRELATED * VOLATILITY, expected)
    assert weights == pytest.approx([0.1, 0.2, 0.3], abs=1e-6)


def test_mean_variance_spends_no_more_than_there_is() -> None:
    # Kelly asks for 0.5, 1.0 and 1.5; with a price p of cash: 0.5 - p = w1, 1 - p / 4 = w2, ...
    expected = np.array([0.5, 4.0, 24.0]) * 24 / 0.25 * 8 / 7 * 1e-4
    weights = portfolio("mean_variance", UNCORRELATED * VOLATILITY, expected)
    # w1 would be negative: p = (2.5 - 1) / (1/4 + 1/16) = 4.8, so w = 0, 1 - 1.2 < 0, then p = 8
    assert weights == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)


def test_mean_variance_holds_for_volatilities_far_apart() -> None:
    returns = UNCORRELATED * np.array([0.01, 0.01, 10.0])
    expected = np.array([0.1, 0.2, 0.3e6]) * 24 / 0.25 * 8 / 7 * 1e-4
    assert portfolio("mean_variance", returns, expected) == pytest.approx([0.1, 0.2, 0.3], abs=1e-5)


def test_risk_parity_gives_every_symbol_the_same_share_of_variance() -> None:
    returns = market(3, 6)
    weights = portfolio("risk_parity", returns)
    contribution = weights * (np.cov(returns.T) @ weights)
    assert contribution / contribution.sum() == pytest.approx(1 / 6, abs=1e-4)


@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_hrp_equals_its_plain_twin(n: int) -> None:
    returns = market(n, n)
    order = np.argsort(returns.std(axis=0))
    twin = np.empty(n)
    twin[order] = plain_hrp(returns[:, order])
    assert portfolio("hrp", returns) == pytest.approx(twin, abs=1e-6)


def plain_hrp(returns: Floats) -> Floats:
    """Lopez de Prado (2016), section 16.4, on a Ward tree with ordered leaves."""
    covariance, correlation = np.cov(returns.T), np.corrcoef(returns.T)
    distance = squareform(np.sqrt(np.clip((1 - correlation) / 2, 0, 1)), checks=False)
    tree = optimal_leaf_ordering(linkage(distance, "ward"), distance)
    weights = np.ones(returns.shape[1])

    def variance(items: NDArray[np.int64]) -> float:
        part = covariance[np.ix_(items, items)]
        w = 1 / np.diag(part) / (1 / np.diag(part)).sum()
        return float(w @ part @ w)

    def split(items: NDArray[np.int64]) -> None:
        if len(items) == 1:
            return
        left, right = items[: len(items) // 2], items[len(items) // 2 :]
        share = variance(right) / (variance(left) + variance(right))
        weights[left] *= share
        weights[right] *= 1 - share
        split(left)
        split(right)

    split(leaves_list(tree).astype(np.int64))
    return weights


def test_cvar_is_the_best_of_all_mixes_of_two() -> None:
    returns = market(5, 2, bars=100)

    def worst_five(weight: float) -> float:
        return float(-np.sort(returns @ [weight, 1 - weight])[:5].mean())

    grid = np.linspace(0, 1, 10_001)
    best = grid[np.argmin([worst_five(w) for w in grid])]
    weights = portfolio("cvar", returns)
    assert weights[0] == pytest.approx(best, abs=1e-4)
    assert 0.05 < best < 0.95


def test_black_litterman_lies_between_equal_weights_and_the_view() -> None:
    # s^2 = 8/7e-4; the prior mu is s^2 / 0.25 / 3 a bar. A variance of 24^2 s^2 / 8 over 24 bars of
    # the future is worth as much as the 8 bars of the past: half of the way, S grows by 1/16.
    spread = 8 / 7 * 1e-4
    prior = spread / 0.25 / 3
    view = np.array([0.5, 1.0, 0.0]) * prior * 24
    weights = portfolio("black_litterman", UNCORRELATED * 0.01, view, variance=576 * spread / 8)
    assert weights == pytest.approx(np.array([0.75, 1.0, 0.5]) / 3 / 1.0625, abs=1e-6)


def test_black_litterman_without_confidence_is_the_market() -> None:
    weights = portfolio("black_litterman", market(2, 4, bars=1000), variance=1e9)
    # equal weights, less one part in a thousand: the posterior covariance is (1 + 1/T) S
    assert weights == pytest.approx([0.24975] * 4, abs=2e-6)


def test_black_litterman_tilts_towards_a_raised_view() -> None:
    returns = market(2, 4)
    views = [np.array([0.01, raised, 0.01, 0.01]) for raised in (0.001, 0.01, 0.02, 0.04)]
    weights = [portfolio("black_litterman", returns, view) for view in views]
    own = [float(w[1]) for w in weights]
    others = [float(w[[0, 2, 3]].sum()) for w in weights]
    assert own == sorted(set(own))
    assert others == sorted(others, reverse=True)


def test_black_litterman_is_moved_less_by_a_model_that_is_less_certain() -> None:
    returns, view = market(2, 4), np.array([0.01, 0.05, 0.01, 0.01])
    sure = portfolio("black_litterman", returns, view, variance=0.0025)
    unsure = portfolio("black_litterman", returns, view, variance=0.025)
    unknown = portfolio("black_litterman", returns, view, variance=1e9)
    assert np.abs(sure - unknown).max() > 3 * np.abs(unsure - unknown).max()


@pytest.mark.parametrize("method", ["mean_variance", "black_litterman"])
def test_a_braver_kelly_fraction_holds_no_less(method: str) -> None:
    returns, view = market(2, 4), np.array([0.001, 0.002, 0.001, 0.002])
    timid = portfolio(method, returns, view, kelly_fraction=0.05)
    brave = portfolio(method, returns, view, kelly_fraction=0.1)
    assert brave.sum() >= timid.sum() > 0


@pytest.mark.parametrize("method", ["equal_risk", "hrp", "risk_parity", "cvar"])
def test_a_single_symbol_gets_all_from_methods_that_only_know_risk(method: str) -> None:
    assert portfolio(method, UNCORRELATED[:, :1]).tolist() == [1.0]


def test_a_single_symbol_gets_its_kelly_bet_by_mean_variance() -> None:
    expected = 0.2 * 24 / 0.25 * 8 / 7 * 1e-4
    assert portfolio("mean_variance", UNCORRELATED[:, :1] * 0.01, expected).tolist() == [0.2]


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), edge=st.floats(1e-6, 0.2))
@settings(max_examples=12)
def test_weights_are_long_only_and_spend_at_most_everything(
    method: str, seed: int, n: int, edge: float
) -> None:
    rng = np.random.default_rng(seed)
    weights = portfolio(method, market(seed, n), edge * rng.uniform(0.1, 1.0, n))
    assert (weights >= 0).all()
    assert weights.sum() <= 1 + 1e-9
    if method not in ("mean_variance", "black_litterman"):
        assert weights.sum() == pytest.approx(1, abs=n * 1e-6)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 8))
@settings(max_examples=10)
def test_the_order_of_the_symbols_changes_nothing_to_the_last_bit(
    method: str, seed: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    returns, expected, shuffled = market(seed, n), rng.uniform(0.001, 0.05, n), rng.permutation(n)
    weights = portfolio(method, returns, expected)
    assert np.array_equal(
        portfolio(method, returns[:, shuffled], expected[shuffled]), weights[shuffled]
    )


@pytest.mark.parametrize("method", METHODS)
def test_two_symbols_that_move_as_one_are_no_failure(method: str) -> None:
    returns = market(4, 3)[:, [0, 0, 1, 2]]
    alike = portfolio(method, returns, np.array([0.01, 0.01, 0.0001, 0.0001]))
    assert alike[0] == pytest.approx(alike[1], abs=2e-5)
    assert 0 < alike[:2].sum() <= 1 + 1e-9


def test_a_method_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="allocation 'kelly' is not one of equal_risk, hrp"):
        portfolio("kelly", UNCORRELATED)


@pytest.mark.parametrize("method", METHODS)
def test_a_hole_in_the_returns_is_refused(method: str) -> None:
    returns = UNCORRELATED.copy()
    returns[3, 1] = np.nan
    with pytest.raises(ValueError, match="too few or not finite; leave incomplete bars out"):
        portfolio(method, returns)


@pytest.mark.parametrize("method", METHODS)
def test_returns_that_stand_still_are_refused_by_column(method: str) -> None:
    returns = UNCORRELATED.copy()
    returns[:, 1] = 0.1
    with pytest.raises(ValueError, match="returns of columns 1 do not vary"):
        portfolio(method, returns)


@pytest.mark.parametrize("method", METHODS)
def test_where_no_portfolio_is_found_none_is_made_up(method: str) -> None:
    # A hundred million times quieter than its neighbours: its variance is lost beside theirs.
    returns = UNCORRELATED * np.array([1e-10, 0.02, 0.04])
    with pytest.raises(ValueError, match=rf"{method} found no portfolio of 3 symbols over 8 bars"):
        portfolio(method, returns)
