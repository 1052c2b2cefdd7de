"""The market factor: the first eigenvector of the correlations, found anew at midnight, sign fixed."""

import numpy as np
import pytest

from features.market_factor import REFIT, first_component

WINDOW = 168


def market(n: int = 480, symbols: int = 6, seed: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    common = rng.standard_t(5, n)
    return 0.01 * (np.linspace(0.4, 1.5, symbols)[:, None] * common + rng.normal(size=(symbols, n)))


def test_the_component_is_the_first_eigenvector_of_the_correlations_at_midnight() -> None:
    r = market()
    loading, share, scale = first_component(r, 24 * 100, WINDOW, 160)
    for midnight in (168, 240, 456):
        held = r[:, midnight - WINDOW + 1 : midnight + 1]
        values, vectors = np.linalg.eigh(np.corrcoef(held))
        first = vectors[:, -1] * np.sign(vectors[:, -1].sum())
        for i in (midnight, midnight + 23):
            np.testing.assert_allclose(loading[:, i], first, atol=1e-6)
            assert share[i] == pytest.approx(values[-1] / 6, rel=1e-6)
            np.testing.assert_allclose(scale[:, i], held.std(axis=1, ddof=1))
    assert np.isnan(share[:168]).all()


def test_it_is_found_at_bars_whose_number_the_refit_divides() -> None:
    share = first_component(market(), 24 * 100 + 5, WINDOW, 160)[1]
    changes = np.flatnonzero(np.diff(share[WINDOW + REFIT :]) != 0) + 1 + WINDOW + REFIT
    assert {(24 * 100 + 5 + i) % REFIT for i in changes} == {0}


def test_a_symbol_without_enough_returns_has_no_loading_and_changes_nothing_for_the_others() -> (
    None
):
    r = market()
    thin = np.concatenate([r, np.full((1, r.shape[1]), np.nan)])
    loading, share, _ = first_component(thin, 0, WINDOW, 160)
    alone, share_alone, _ = first_component(r, 0, WINDOW, 160)
    assert np.isnan(loading[6]).all()
    np.testing.assert_allclose(loading[:6], alone, rtol=1e-12)
    np.testing.assert_allclose(share, share_alone, rtol=1e-12)
    assert np.isnan(first_component(r[:1], 0, WINDOW, 160)[1]).all()
