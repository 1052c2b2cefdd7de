"""Predicted against actual by group: figures worked out by hand, and a slow twin."""

import math
from datetime import UTC, date, datetime, timedelta
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from evaluation.outcomes import FIGURES, GROUPS, forecast_errors
from evaluation.reliability import calibration_curve
from evaluation.reliability.scored import filled_bins

# A Monday.
MONDAY = datetime(2024, 6, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = {
    "model_version": pl.String(),
    "symbol": pl.String(),
    "known_at": pl.Datetime("us", "UTC"),
    "p_down": pl.Float64(),
    "p_flat": pl.Float64(),
    "p_up": pl.Float64(),
    "expected_return": pl.Float64(),
    "lower": pl.Float64(),
    "upper": pl.Float64(),
    "interval_level": pl.Float64(),
    "outcome": pl.Int64(),
    "realised_return": pl.Float64(),
    "regime": pl.String(),
}


def frame(*rows):
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def row(at, expected, realised, outcome, *, model="1", symbol="BTC/USDT", regime="bull", level=0.8):
    proba = (0.2, 0.3, 0.5)
    return (
        model, symbol, at, *proba, expected, expected - 0.02, expected + 0.02, level, outcome, realised, regime,
    )  # fmt: skip


HAND = frame(
    row(MONDAY + HOUR, 0.01, 0.02, 2),
    row(MONDAY + 2 * HOUR, 0.01, -0.03, 0),
    row(MONDAY + 3 * HOUR, -0.01, -0.02, 1),
    row(MONDAY + 3 * HOUR, 0.00, None, None),
)


def test_the_figures_are_those_worked_out_by_hand() -> None:
    found = forecast_errors(HAND).row(0, named=True)
    assert (found["model"], found["n"], found["unmeasured"]) == ("1", 3, 1)
    assert found["mae"] == pytest.approx((0.01 + 0.04 + 0.01) / 3)
    assert found["mse"] == pytest.approx((0.0001 + 0.0016 + 0.0001) / 3)
    # Against up, down and flat: 0.04 + 0.09 + 0.25, 0.64 + 0.09 + 0.25, 0.04 + 0.49 + 0.25.
    assert found["brier"] == pytest.approx((0.38 + 0.98 + 0.78) / 3)
    assert found["log_loss"] == pytest.approx(-math.log(0.5 * 0.2 * 0.3) / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["hit_rate"] == pytest.approx(2 / 3)
    # One bin: half was promised, a third came true.
    assert found["calibration_error"] == pytest.approx(0.5 - 1 / 3)
    assert found["interval_coverage"] == pytest.approx(2 / 3)
    assert found["interval_level"] == pytest.approx(0.8)
    assert found["mean_predicted"] == pytest.approx(0.01 / 3)
    assert found["mean_realised"] == pytest.approx(-0.01)
    # Ranks 2.5, 2.5, 1 against 3, 1, 2.
    assert found["rank_correlation"] == pytest.approx(0.0, abs=1e-12)


def test_an_instant_belongs_to_the_week_it_ends() -> None:
    rows = frame(
        row(MONDAY, 0.01, 0.01, 2),
        row(MONDAY + HOUR, 0.01, 0.02, 2),
        row(MONDAY + timedelta(days=7), 0.01, 0.03, 2),
    )
    found = forecast_errors(rows, ["week"])
    assert found["week"].to_list() == [date(2024, 5, 27), date(2024, 6, 3)]
    assert found["n"].to_list() == [1, 2]


def test_what_is_not_defined_is_null_and_an_unknown_regime_a_group_of_its_own() -> None:
    rows = frame(
        row(MONDAY, 0.01, 0.01, 2, regime=None, level=None),
        row(MONDAY, 0.01, None, None, regime="storm"),
    )
    found = forecast_errors(rows, ["regime"])
    assert found["regime"].to_list() == ["storm", None]
    storm, unknown = found.to_dicts()
    assert (storm["n"], storm["unmeasured"]) == (0, 1)
    assert all(storm[name] is None for name in FIGURES)
    assert (unknown["n"], unknown["mae"]) == (1, 0.0)
    assert unknown["interval_level"] is None
    assert unknown["rank_correlation"] is None


def test_no_rows_make_no_groups_and_a_group_that_is_not_known_is_refused() -> None:
    assert forecast_errors(frame(), ["model", "week"]).is_empty()
    assert forecast_errors(frame(), []).is_empty()
    with pytest.raises(ValueError, match="cannot be grouped by weather; known are model"):
        forecast_errors(HAND, ["weather"])


def test_a_measured_row_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="1 measured outcomes hold a value that is not finite"):
        forecast_errors(frame(row(MONDAY, math.nan, 0.01, 2)))


def market(seed, n, *, coarse=False):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet([2.0, 3.0, 2.0], n)
    if coarse:
        proba = np.eye(3)[rng.integers(0, 3, n)] * 0.4 + 0.2
    expected = rng.normal(0, 0.01, n).round(3 if coarse else 9)
    realised = expected + rng.normal(0, 0.02, n)
    known = rng.random(n) > 0.1
    return pl.DataFrame(
        {
            "model_version": rng.choice(["1", "2"], n),
            "symbol": rng.choice(["BTC/USDT", "ETH/USDT"], n),
            "known_at": [MONDAY + int(h) * HOUR for h in rng.integers(0, 400, n)],
            **{name: proba[:, k] for k, name in enumerate(("p_down", "p_flat", "p_up"))},
            "expected_return": expected,
            "lower": expected - 0.02,
            "upper": expected + 0.03,
            "interval_level": rng.choice([0.8, 0.9], n),
            "outcome": [int(o) if k else None for o, k in zip(rng.integers(0, 3, n), known, strict=True)],
            "realised_return": [float(r) if k else None for r, k in zip(realised, known, strict=True)],
            "regime": [(None, "bull", "storm")[i] for i in rng.integers(0, 3, n)],
        },
        schema=SCHEMA,
    )  # fmt: skip


def slowly(rows, by):
    """The same figures, group by group and row by row."""
    named = rows.with_columns(**{name: GROUPS[name] for name in by}).to_dicts()
    groups = {}
    for one in named:
        groups.setdefault(tuple(one[name] for name in by), []).append(one)
    return {key: _figures(group) for key, group in groups.items()}


def _figures(group):
    done = [one for one in group if one["outcome"] is not None]
    found = {"n": len(done), "unmeasured": len(group) - len(done)} | dict.fromkeys(FIGURES)
    if not done:
        return found
    sums = dict.fromkeys(FIGURES, 0.0)
    confidence, hits = [], []
    for one in done:
        error = one["expected_return"] - one["realised_return"]
        proba = [one["p_down"], one["p_flat"], one["p_up"]]
        sums["mae"] += abs(error)
        sums["mse"] += error**2
        sums["brier"] += sum((p - (k == one["outcome"])) ** 2 for k, p in enumerate(proba))
        sums["log_loss"] -= math.log(proba[one["outcome"]])
        sums["accuracy"] += proba.index(max(proba)) == one["outcome"]
        sums["hit_rate"] += np.sign(one["expected_return"]) == np.sign(one["realised_return"])
        sums["interval_coverage"] += one["lower"] <= one["realised_return"] <= one["upper"]
        sums["interval_level"] += one["interval_level"]
        sums["mean_predicted"] += one["expected_return"]
        sums["mean_realised"] += one["realised_return"]
        confidence.append(max(proba))
        hits.append(proba.index(max(proba)) == one["outcome"])
    found |= {name: total / len(done) for name, total in sums.items()}
    place = filled_bins(np.array(confidence), 10)
    gaps = [abs(sum(h - c for h, c, p in zip(hits, confidence, place, strict=True) if p == b)) for b in set(place)]  # fmt: skip
    found["calibration_error"] = sum(gaps) / len(done)
    pairs = [[one["expected_return"] for one in done], [one["realised_return"] for one in done]]
    varies = all(len(set(values)) > 1 for values in pairs)
    found["rank_correlation"] = float(spearmanr(*pairs).statistic) if varies else None
    return found


COMBINATIONS = [
    [name for name, taken in zip(GROUPS, chosen, strict=True) if taken]
    for chosen in product((False, True), repeat=len(GROUPS))
]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 120),
    by=st.sampled_from(COMBINATIONS),
    coarse=st.booleans(),
)
@settings(max_examples=40)
def test_the_figures_of_any_grouping_are_those_of_the_slow_twin(seed, n, by, coarse) -> None:
    rows = market(seed, n, coarse=coarse)
    found = forecast_errors(rows, by)
    expected = slowly(rows, by)
    keys = [tuple(one[name] for name in by) for one in found.to_dicts()]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(expected)
    for key, one in zip(keys, found.to_dicts(), strict=True):
        for name, value in expected[key].items():
            assert one[name] == (value if value is None else pytest.approx(value, abs=1e-9)), name


@given(seed=st.integers(0, 10_000), n=st.integers(1, 80))
@settings(max_examples=20)
def test_neither_the_order_of_the_rows_nor_those_of_others_change_a_group(seed, n) -> None:
    rows = market(seed, n)
    whole = forecast_errors(rows, ["model", "symbol"])
    mixed = forecast_errors(rows.sample(fraction=1.0, shuffle=True, seed=seed), ["model", "symbol"])
    columns = ["n", "unmeasured", *FIGURES]
    for other in (
        mixed,
        *(
            forecast_errors(part, ["model", "symbol"])
            for part in rows.partition_by("model_version")
        ),
    ):
        met = whole.join(other, on=["model", "symbol"], suffix="_other")
        assert met.height == other.height
        for name in columns:
            pairs = met.select(name, f"{name}_other").drop_nulls().to_numpy().astype(float)
            np.testing.assert_allclose(pairs[:, 0], pairs[:, 1], atol=1e-12)


def test_the_calibration_error_is_that_of_the_curve() -> None:
    rows = market(3, 500).filter(pl.col("outcome").is_not_null())
    curve = calibration_curve(rows, paths=10)
    error = forecast_errors(rows, [])["calibration_error"].item()
    assert error == pytest.approx(curve.error.value, abs=1e-12)
