import numpy as np
import pytest

from evaluation.multiple_comparison import (
    _long_run_deviation,
    model_confidence_set,
    superior_ability,
    superior_models,
)

RNG = np.random.default_rng(0)
BENCHMARK = RNG.exponential(size=600)
NOISE = RNG.normal(0.0, 0.3, (600, 4))
WORTHLESS = {f"m{k}": BENCHMARK + NOISE[:, k] - NOISE[:, k].mean() + 0.02 for k in range(4)}
GOOD = {"good": BENCHMARK - 0.1 + NOISE[:, 0]}
FAST = {"paths": 300, "seed": 5}


def test_a_model_with_smaller_losses_is_found_and_named() -> None:
    found = superior_ability(BENCHMARK, {**WORTHLESS, **GOOD}, **FAST)
    assert found.p_value < 0.01
    assert found.best == "good"
    assert found.lead == pytest.approx(0.1, abs=0.03)
    assert found.p_lower <= found.p_value <= found.p_upper
    assert superior_models(BENCHMARK, {**WORTHLESS, **GOOD}, **FAST).superior == ("good",)


def test_larger_losses_are_never_better_whatever_their_sign_would_say_of_gains() -> None:
    worse = {"worse": BENCHMARK + 0.1 + NOISE[:, 1]}
    assert superior_ability(BENCHMARK, worse, **FAST).p_value == 1.0
    assert superior_models(BENCHMARK, worse, **FAST).superior == ()


def test_the_best_of_many_worthless_models_is_rarely_called_better() -> None:
    rng, called = np.random.default_rng(3), 0
    for seed in range(60):
        benchmark = rng.exponential(size=120)
        models = {str(k): benchmark + rng.normal(size=120) for k in range(10)}
        found = superior_ability(benchmark, models, paths=100, seed=seed, block_bars=1)
        called += found.p_value < 0.1
    assert called / 60 < 0.2


def test_a_noisy_model_does_not_hide_a_quiet_good_one() -> None:
    # unstudentised, the noise of 20 decides the maximum and the lead of 0.1 is nothing
    noisy = {"noisy": BENCHMARK + 20 * np.random.default_rng(9).normal(size=600)}
    found = superior_ability(BENCHMARK, {**noisy, **GOOD}, **FAST)
    assert found.best == "good"
    assert found.p_value < 0.01
    assert superior_models(BENCHMARK, {**noisy, **GOOD}, **FAST).superior == ("good",)


def test_stepping_down_names_all_models_when_all_are_better() -> None:
    models = {
        "far": BENCHMARK - 0.5 + NOISE[:, 0],
        "near": BENCHMARK - 0.03 + NOISE[:, 1] - NOISE[:, 1].mean(),
        "mid": BENCHMARK - 0.2 + NOISE[:, 2],
    }
    assert superior_models(BENCHMARK, models, **FAST).superior == ("far", "near", "mid")


def test_the_confidence_set_keeps_what_cannot_be_told_from_the_best() -> None:
    rng = np.random.default_rng(8)
    losses = {
        "best": BENCHMARK,
        "twin": BENCHMARK + 0.3 * rng.normal(size=600),
        "bad": BENCHMARK + 0.3 + 0.3 * rng.normal(size=600),
    }
    found = model_confidence_set(losses, **FAST)
    assert found.included == ("best", "twin")
    assert list(found.p_values) == ["best", "twin", "bad"]
    assert (
        found.p_values["bad"] < 0.01 < found.p_values["twin"] <= 1.0 == max(found.p_values.values())
    )
    assert found.as_json()["included"] == ["best", "twin"]


def test_a_seed_repeats_and_the_block_follows_the_memory() -> None:
    again = superior_ability(BENCHMARK, WORTHLESS, **FAST)
    assert again == superior_ability(BENCHMARK, WORTHLESS, **FAST)
    assert again.block_bars <= 4
    slow_noise = np.convolve(np.random.default_rng(1).normal(size=620), np.ones(21) / 21, "valid")
    slow = {"slow": BENCHMARK + slow_noise}
    assert superior_ability(BENCHMARK, slow, **FAST).block_bars > 10
    assert superior_ability(BENCHMARK, slow, block_bars=3, **FAST).block_bars == 3


def test_the_long_run_deviation_is_that_of_its_plain_twin() -> None:
    lead, block = NOISE[:50, :2].cumsum(axis=0), 4
    slow = []
    for column in lead.T:
        centred, p = column - column.mean(), 1 / block
        total = float(np.mean(centred**2))
        for k in range(1, 50):
            kappa = (1 - k / 50) * (1 - p) ** k + k / 50 * (1 - p) ** (50 - k)
            total += 2 * kappa * float(np.sum(centred[k:] * centred[:-k])) / 50
        slow.append(total**0.5)
    assert _long_run_deviation(lead, block).tolist() == pytest.approx(slow)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({}, r"1 series of losses \(the benchmark\); a comparison needs 2"),
        ({"m": BENCHMARK[:100]}, "all models need the same instants"),
        ({"m": np.where(np.arange(600) == 3, np.nan, BENCHMARK)}, "1 losses of m are not finite"),
        ({"m": BENCHMARK}, "losses of m and the benchmark differ by 0 at every instant"),
        ({"m": BENCHMARK - 1.0}, "losses of m and the benchmark differ by 1 at every"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_is_wrong(losses, said) -> None:
    for test in (superior_ability, superior_models):
        with pytest.raises(ValueError, match=said):
            test(BENCHMARK, losses)


def test_a_set_of_one_or_of_equal_models_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 series of losses \(a\)"):
        model_confidence_set({"a": BENCHMARK})
    with pytest.raises(ValueError, match="losses of b and a differ by 0"):
        model_confidence_set({"a": BENCHMARK, "b": BENCHMARK.copy()})
    with pytest.raises(ValueError, match="20 or more"):
        model_confidence_set({"a": BENCHMARK[:19], "b": BENCHMARK[:19] + 1})
