"""Is any of many models really better? Tests that know how many were compared.

All take *losses*: smaller is better. For gains (returns of a bar) hand over their negative. One row an
instant: rows of several symbols at one instant are one observation, so average them first. The tests
resample blocks of instants, by default as long as Politis and White (2004) find best for the
difference that remembers most.

References
----------
Hansen (2005), A test for superior predictive ability, Journal of Business & Economic Statistics 23(4).
Romano and Wolf (2005), Stepwise multiple testing as formalized data snooping, Econometrica 73(4).
Hansen, Lunde and Nason (2011), The model confidence set, Econometrica 79(2). Computed by `arch`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation.bootstrap import optimal_block
from serving.compiled import Floats

PATHS = 1_000
SIZE = 0.05
_FEWEST = 20
_HOPELESS = 10.0


@dataclass(frozen=True)
class SuperiorAbility:
    """Hansen's test: the null is that *no* model has a smaller expected loss than the benchmark.

    Attributes
    ----------
    p_value : float
        The consistent one; small speaks for at least one model that is better. 0 stands for less
        than 1 / paths; 1 where no model has a smaller mean loss at all.
    p_lower, p_upper : float
        Its liberal and its conservative bound; `p_upper` is what poor models added to the comparison
        can inflate.
    best : str
        The model with the largest standardised lead.
    lead : float
        Its mean lead, benchmark loss less model loss: positive is better.
    block_bars, paths : int
    """

    p_value: float
    p_lower: float
    p_upper: float
    best: str
    lead: float
    block_bars: int
    paths: int

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class SuperiorModels:
    """Romano and Wolf: the models that beat the benchmark, wrong about *any* with probability `size`."""

    superior: tuple[str, ...]
    size: float
    block_bars: int
    paths: int

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {**asdict(self), "superior": list(self.superior)}


@dataclass(frozen=True)
class ConfidenceSet:
    """Hansen, Lunde and Nason: the set that holds the best model with probability 1 - `size`.

    Attributes
    ----------
    included : tuple of str
        What the record cannot tell from the best.
    p_values : dict
        Of each model; those above `size` are in the set.
    size : float
    block_bars, paths : int
    """

    included: tuple[str, ...]
    p_values: dict[str, float]
    size: float
    block_bars: int
    paths: int

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return {**asdict(self), "included": list(self.included)}


def superior_ability(
    benchmark: Floats,
    losses: Mapping[str, Floats],
    *,
    paths: int = PATHS,
    seed: int = 0,
    block_bars: int | None = None,
) -> SuperiorAbility:
    """Test whether any model beats the benchmark, with all of them counted.

    The differences are divided by their long-run standard deviation first: the test studentised, as
    Hansen recommends, so that one noisy model does not hide a quiet good one.

    Parameters
    ----------
    benchmark : float64 (T,)
        *Loss* of the benchmark at each instant.
    losses : mapping of name to float64 (T,)
        *Loss* of each model at the same instants; one or more.
    paths, seed : int
    block_bars : int, optional

    Raises
    ------
    ValueError
        If there is no model, fewer than twenty instants, a value that is not finite, or a model whose
        difference to the benchmark never varies.
    """
    from arch.bootstrap import SPA

    names, lead, block = _leads(benchmark, losses, block_bars)
    standard = lead / _long_run_deviation(lead, block)
    test = SPA(np.zeros(lead.shape[0]), -standard, block_size=block, reps=paths, seed=seed)
    test.compute()
    best = int(standard.mean(axis=0).argmax())
    lower, consistent, upper = (
        float(test.pvalues[k]) if standard[:, best].mean() > 0 else 1.0
        for k in ("lower", "consistent", "upper")
    )
    return SuperiorAbility(
        consistent, lower, upper, names[best], float(lead[:, best].mean()), block, paths
    )


def superior_models(
    benchmark: Floats,
    losses: Mapping[str, Floats],
    *,
    size: float = SIZE,
    paths: int = PATHS,
    seed: int = 0,
    block_bars: int | None = None,
) -> SuperiorModels:
    """Name the models that beat the benchmark, at a familywise error rate of `size`.

    Parameters
    ----------
    benchmark, losses, paths, seed, block_bars
        As in `superior_ability`: *losses*, smaller is better.
    size : float
        In (0, 1).

    Raises
    ------
    ValueError
        As `superior_ability`.
    """
    from arch.bootstrap import StepM

    names, lead, block = _leads(benchmark, losses, block_bars)
    standard = lead / _long_run_deviation(lead, block)
    # A model that never wins: without one arch fails where the last step finds all that are left.
    hopeless = standard[:, :1] - standard[:, :1].mean() - _HOPELESS
    standard = np.hstack([standard, hopeless])
    test = StepM(
        np.zeros(lead.shape[0]), -standard, size=size, block_size=block, reps=paths, seed=seed
    )
    test.compute()
    return SuperiorModels(
        tuple(names[int(str(i))] for i in test.superior_models), size, block, paths
    )


def model_confidence_set(
    losses: Mapping[str, Floats],
    *,
    size: float = 0.1,
    paths: int = PATHS,
    seed: int = 0,
    block_bars: int | None = None,
) -> ConfidenceSet:
    """Return the models that cannot be told from the best.

    Parameters
    ----------
    losses : mapping of name to float64 (T,)
        *Loss* of each model (baselines are models too) at the same instants; two or more.
    size : float
        In (0, 1): the set misses the best model with this probability.
    paths, seed, block_bars
        As in `superior_ability`.

    Raises
    ------
    ValueError
        If there is one model, or two whose losses differ by a constant, or as `superior_ability`.
    """
    from arch.bootstrap import MCS

    names, table = _table(losses, fewest=2)
    pairs = [
        (names[i], names[j], table[:, i] - table[:, j]) for i in range(len(names)) for j in range(i)
    ]
    for one, other, difference in pairs:
        _refuse_constant(f"{one} and {other}", difference)
    block = _block(np.column_stack([difference for *_, difference in pairs]), block_bars)
    test = MCS(table, size=size, reps=paths, block_size=block, method="R", seed=seed)
    test.compute()
    p_values = {names[int(str(i))]: float(p) for i, p in test.pvalues["Pvalue"].items()}
    included = tuple(name for name in names if p_values[name] > size)
    return ConfidenceSet(included, {n: p_values[n] for n in names}, size, block, paths)


def _leads(
    benchmark: Floats, losses: Mapping[str, Floats], block_bars: int | None
) -> tuple[list[str], Floats, int]:
    names, table = _table({"the benchmark": benchmark, **losses}, fewest=2)
    lead = table[:, :1] - table[:, 1:]
    for place, name in enumerate(names[1:]):
        _refuse_constant(f"{name} and the benchmark", lead[:, place])
    return names[1:], lead, _block(lead, block_bars)


def _table(losses: Mapping[str, Floats], *, fewest: int) -> tuple[list[str], Floats]:
    if len(losses) < fewest:
        raise ValueError(
            f"{len(losses)} series of losses ({', '.join(losses)}); a comparison needs {fewest} or more"
        )
    shapes = {name: np.shape(loss) for name, loss in losses.items()}
    rows = next(iter(shapes.values()))
    if len(set(shapes.values())) > 1 or len(rows) != 1 or rows[0] < _FEWEST:
        raise ValueError(
            f"losses have shapes {shapes}; all models need the same instants, {_FEWEST} or more"
        )
    for name, loss in losses.items():
        if not np.isfinite(loss).all():
            raise ValueError(
                f"{int((~np.isfinite(loss)).sum())} losses of {name} are not finite; "
                "compare on the instants that all models have scored"
            )
    return list(losses), np.column_stack(list(losses.values())).astype(np.float64)


def _refuse_constant(pair: str, difference: Floats) -> None:
    if np.ptp(difference) <= 1e-14 * max(float(np.abs(difference).max()), 1e-300):
        raise ValueError(
            f"losses of {pair} differ by {difference[0]:g} at every instant; "
            "a difference that never varies cannot be tested: leave one of the two out"
        )


def _block(differences: Floats, block_bars: int | None) -> int:
    if block_bars is not None:
        return max(1, block_bars)
    return max(math.ceil(optimal_block(column)) for column in differences.T)


def _long_run_deviation(lead: Floats, block: int) -> Floats:
    """Return the root of the variance that the stationary bootstrap gives the mean, times T.

    sum_k kappa(k) R(k), kappa(k) = (1 - k/T) (1 - p)^k + k/T (1 - p)^(T - k), p = 1 / block (Politis
    and Romano 1994, lemma 1), by a Fourier transform.
    """
    n = lead.shape[0]
    centred = lead - lead.mean(axis=0)
    power = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(power, 2 * n, axis=0)[:n] / n
    lags = np.arange(1, n)
    keep = 1.0 - 1.0 / block
    kappa = (1.0 - lags / n) * keep**lags + lags / n * keep ** (n - lags)
    variance: Floats = covariance[0] + 2.0 * kappa @ covariance[1:]
    deviation: Floats = np.sqrt(np.maximum(variance, 1e-12 * covariance[0]))
    return deviation
