"""The hourly random paths behind the synthetic market, generated in seeded blocks.

A path is a pure function of ``(seed, coin, signal)`` and of time since `EPOCH`: block `k` draws from a
stream of its own (Philox, keyed by seed and name, counted by `k`) and starts in the state in which
block `k - 1` ended. Asking for a shorter or a longer span changes nothing, nor does another symbol.

The model of one hour ``t`` (all volatilities are standard deviations of hourly log returns)::

    factor:  m_t = sigma^m_t z^m_t
    coin:    r_t = beta m_t + sigma_t z_t + jump_t + a sd_t x_{t-1} - compensator_t

`z` are independent normals; `sigma` is stochastic: slow, medium and fast log-AR(1) components, a
market regime (bull, bear, range), the hour of the day and of the week, a shock of that hour alone,
and a leverage term (the factor's past falls raise volatility). The compensator makes
``E[exp(r_t) | past, sigma_t] = 1`` exactly when ``a = 0``: prices are a martingale and nothing
observable predicts a return. `x` is a hidden unit-variance outlook: half of its variance is the
coin's own (half-life 24 h), a quarter the market's, a quarter the regime's. It always tilts the
taker flow, but moves prices only through `a`, which `signal` sets.
"""

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from pipelines.market_simulator.bars import HOUR
from pipelines.market_simulator.instruments import coin

Floats = npt.NDArray[np.float64]

EPOCH = 1_501_545_600_000  # 2017-08-01T00:00Z, before the first bar any market serves
SCALED_AT = 1_735_689_600_000  # 2025-01-01T00:00Z, when prices are at the scale of their coin
BLOCK = 4096  # hours
HOURS_A_YEAR = 8760.0

FACTOR_VOLATILITY = 0.55  # annual
_REGIME_HOURS = 45 * 24.0  # mean length of a regime
_REGIME_OUTLOOK = np.array([1.0, -1.0, 0.0]) * math.sqrt(1.5)  # bull, bear, range: unit variance
_REGIME_LOG_VOL = np.array([0.0, 0.25, -0.25])
_OUTLOOK_WEIGHTS = (math.sqrt(0.5), math.sqrt(0.25), math.sqrt(0.25))  # own, market, regime
_OUTLOOK_HALF_LIFE = 24.0
_HORIZON = 24  # hours over which `signal` is stated
_LEVERAGE = -0.15
_SHOCK = 0.36  # log sd of the volatility shock of one hour alone
_JUMP_RATE = 1 / 400.0  # an hour
_JUMP_SIZE = 3.5  # in hourly sigmas
_LOG_VOL = ((30 * 24.0, 0.36), (3 * 24.0, 0.30), (8.0, 0.30))  # half-life [h], log sd


def stream(seed: int, name: str, block: int) -> np.random.Generator:
    """Return the generator of one block of one named path."""
    key = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    return np.random.Generator(
        np.random.Philox(
            key=np.frombuffer(key, dtype=np.uint64),
            counter=np.array([0, 0, 0, block], dtype=np.uint64),
        )
    )


def outlook_weight(signal: float) -> float:
    """Return `a` for which the outlook's correlation with the next scaled 24-hour return is `signal`.

    With ``R = sum of 24 hours of (a x + z)``, ``corr(E[R | x], R) = a g / sqrt(24 + a^2 v)`` where
    ``g^2 = sum_c w_c^2 g_c^2`` and ``v = sum_c w_c^2 v_c`` over the components `c` of `x`, `g_c` the sum
    of their autocorrelations up to 23 h and `v_c` the variance of their 24-hour sum.
    """
    lags = np.arange(_HORIZON)
    own = 0.5 ** (lags / _OUTLOOK_HALF_LIFE)
    regime = np.exp(-lags * 1.5 / _REGIME_HOURS)
    squared, variance = 0.0, 0.0
    for weight, acf in zip(_OUTLOOK_WEIGHTS, (own, own, regime), strict=True):
        squared += weight**2 * acf.sum() ** 2
        variance += weight**2 * (_HORIZON + 2 * ((_HORIZON - lags[1:]) * acf[1:]).sum())
    return math.sqrt(_HORIZON * signal**2 / (squared - signal**2 * variance))


class AutoRegression:
    """A unit-variance AR(1) times `scale` that continues from block to block."""

    def __init__(self, half_life: float, scale: float, generator: np.random.Generator) -> None:
        self._phi = 0.5 ** (1.0 / half_life)
        self._scale = scale
        self._last = generator.standard_normal()

    def run(self, noise: Floats) -> Floats:
        """Return the next values, driven by standard normals `noise`."""
        gain = math.sqrt(1.0 - self._phi**2)
        values, _ = lfilter([gain], [1.0, -self._phi], noise, zi=[self._phi * self._last])
        self._last = float(values[-1])
        return np.asarray(values * self._scale)


def season(block: int) -> Floats:
    """Return the log volume shape of the hours of a block: busy at 14 UTC, quiet at weekends."""
    hours = block * BLOCK + np.arange(BLOCK)
    of_day, of_week = hours % 24, (hours // 24 + 1) % 7  # EPOCH is a Tuesday; 0 is Monday
    daily = 0.30 * np.cos(2 * np.pi * (of_day - 14.5) / 24) + 0.10 * np.cos(
        4 * np.pi * (of_day - 14.0) / 24
    )
    return np.asarray(daily - 0.50 * (of_week >= 5) + 0.50 * 2 / 7)


class _LogVolatility:
    """The persistent part of log volatility, shifted so that the mean variance is one."""

    def __init__(self, seed: int, name: str) -> None:
        start = stream(seed, f"{name}:volatility", 2**63)
        self._parts = [AutoRegression(half_life, sd, start) for half_life, sd in _LOG_VOL]
        self._shift = -sum(sd**2 for _, sd in _LOG_VOL)

    def run(self, generator: np.random.Generator, push: Floats) -> Floats:
        """Return the next block; `push` (standard normals of the past hour) is the leverage."""
        rest = math.sqrt(1.0 - _LEVERAGE**2)
        total = np.full(BLOCK, self._shift)
        for part in self._parts:
            total += part.run(_LEVERAGE * push + rest * generator.standard_normal(BLOCK))
        return total


@dataclass(frozen=True)
class FactorBlock:
    """One block of the market factor: the known part of log volatility, returns and outlook."""

    level: Floats
    sigma: Floats
    returns: Floats
    outlook: Floats
    regime_outlook: Floats
    pushes: Floats


class Factor:
    """The market factor that every coin loads on."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        start = stream(seed, "factor", 2**63)
        self._volatility = _LogVolatility(seed, "factor")
        self._outlook = AutoRegression(_OUTLOOK_HALF_LIFE, 1.0, start)
        self._regime = int(start.integers(3))
        self._last_push = 0.0
        self._blocks: list[FactorBlock] = []

    def block(self, index: int) -> FactorBlock:
        """Return block `index`, generating those before it on the way."""
        while len(self._blocks) <= index:
            self._blocks.append(self._generate(len(self._blocks)))
        return self._blocks[index]

    def _generate(self, index: int) -> FactorBlock:
        generator = stream(self.seed, "factor", index)
        z = generator.standard_normal(BLOCK)
        pushes = np.concatenate([[self._last_push], z[:-1]])
        self._last_push = float(z[-1])
        regime = self._regimes(generator)
        level = self._volatility.run(generator, pushes) + _REGIME_LOG_VOL[regime]
        shock = _SHOCK * generator.standard_normal(BLOCK) - _SHOCK**2
        base = math.log(FACTOR_VOLATILITY / math.sqrt(HOURS_A_YEAR))
        sigma = np.exp(base + level + 0.5 * season(index) + shock)
        outlook = self._outlook.run(generator.standard_normal(BLOCK))
        return FactorBlock(level, sigma, sigma * z, outlook, _REGIME_OUTLOOK[regime], pushes)

    def _regimes(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        switches = np.flatnonzero(generator.random(BLOCK) < 1.0 / _REGIME_HOURS)
        steps = generator.integers(1, 3, size=BLOCK)
        regime = np.empty(BLOCK, dtype=np.int64)
        begin = 0
        for switch in [*switches.tolist(), BLOCK]:
            regime[begin:switch] = self._regime
            if switch < BLOCK:
                self._regime = (self._regime + int(steps[switch])) % 3
            begin = switch
        return regime


@dataclass(frozen=True)
class CoinBlock:
    """One block of a coin's hourly path.

    Parameters
    ----------
    log_price : array [BLOCK + 1]
        Log price [dollars] at the start of every hour, and at the end of the last.
    log_high, log_low : array [BLOCK]
        Log of the extremes within the hour.
    log_turnover : array [BLOCK]
        Log of the hour's volume [dollars] before a market's own noise.
    flow : array [BLOCK]
        Logit of the taker buy share of the hour.
    outlook : array [BLOCK]
        The hidden outlook at the end of the hour.
    """

    log_price: Floats
    log_high: Floats
    log_low: Floats
    log_turnover: Floats
    flow: Floats
    outlook: Floats


class CoinPath:
    """The path of one coin against the dollar."""

    def __init__(self, name: str, factor: Factor, signal: float) -> None:
        self._name, self._factor, self._coin = name, factor, coin(name)
        self._weight = outlook_weight(signal)
        start = stream(factor.seed, name, 2**63)
        self._volatility = _LogVolatility(factor.seed, name)
        self._own = AutoRegression(_OUTLOOK_HALF_LIFE, 1.0, start)
        self._mood = AutoRegression(6.0, 0.30, start)
        self._activity = AutoRegression(10 * 24.0, 0.50, start)
        self._last_outlook = 0.0
        self._log_price = 0.0
        self._blocks: list[CoinBlock] = []
        self._set_scale()

    def block(self, index: int) -> CoinBlock:
        """Return block `index`, generating those before it on the way."""
        while len(self._blocks) <= index:
            self._blocks.append(self._generate(len(self._blocks)))
        return self._blocks[index]

    def _set_scale(self) -> None:
        """Multiply all prices by the constant that makes the coin's scale its price at `SCALED_AT`.

        A martingale wanders over years to levels at which a tick would be a tenth of the price. No
        return, hence nothing that is free of scale, depends on the constant.
        """
        index, hour = divmod(hours_since_epoch(SCALED_AT), BLOCK)
        shift = math.log(self._coin.price) - float(self.block(index).log_price[hour])
        self._log_price += shift
        self._blocks = [
            replace(
                block,
                log_price=block.log_price + shift,
                log_high=block.log_high + shift,
                log_low=block.log_low + shift,
            )
            for block in self._blocks
        ]

    def _generate(self, index: int) -> CoinBlock:
        generator = stream(self._factor.seed, self._name, index)
        factor = self._factor.block(index)
        z, shock = generator.standard_normal((2, BLOCK))
        level = self._volatility.run(generator, factor.pushes)
        base = math.log(self._coin.volatility / math.sqrt(HOURS_A_YEAR))
        shock = _SHOCK * shock - _SHOCK**2
        own_sigma = np.exp(base + 0.6 * level + 0.4 * factor.level + 0.5 * season(index) + shock)
        sigma = np.hypot(self._coin.beta * factor.sigma, own_sigma)
        jumps = self._jumps(generator, sigma)
        own = self._own.run(generator.standard_normal(BLOCK))
        parts = (own, factor.outlook, factor.regime_outlook)
        outlook = np.asarray(sum(w * p for w, p in zip(_OUTLOOK_WEIGHTS, parts, strict=True)))
        before = np.concatenate([[self._last_outlook], outlook[:-1]])
        self._last_outlook = float(outlook[-1])
        diffusion = self._coin.beta * factor.returns + own_sigma * z
        returns = diffusion + jumps + self._weight * sigma * before - 0.5 * sigma**2
        log_price = self._log_price + np.concatenate([[0.0], np.cumsum(returns)])
        self._log_price = float(log_price[-1])
        high, low = _extremes(generator, returns, sigma)
        heat = np.log(sigma) - math.log(self._typical_sigma())
        return CoinBlock(
            log_price=log_price,
            log_high=log_price[:-1] + high,
            log_low=log_price[:-1] + low,
            log_turnover=self._turnover(generator, index, heat, np.abs(returns) / sigma),
            flow=self._flow(generator, returns / sigma, outlook),
            outlook=outlook,
        )

    def _typical_sigma(self) -> float:
        total = math.hypot(self._coin.beta * FACTOR_VOLATILITY, self._coin.volatility)
        return total / math.sqrt(HOURS_A_YEAR)

    def _jumps(self, generator: np.random.Generator, sigma: Floats) -> Floats:
        happens = generator.random(BLOCK) < _JUMP_RATE
        size = _JUMP_SIZE * sigma
        jump = size * generator.standard_normal(BLOCK) - 0.5 * size**2
        return np.where(happens, jump, 0.0)

    def _turnover(
        self, generator: np.random.Generator, index: int, heat: Floats, surprise: Floats
    ) -> Floats:
        activity = self._activity.run(generator.standard_normal(BLOCK))
        noise = 0.20 * generator.standard_normal(BLOCK)
        shape = 0.4 * season(index) + 0.9 * heat + 0.25 * (surprise - 0.8)
        return np.asarray(math.log(self._coin.turnover) + shape + activity + noise)

    def _flow(self, generator: np.random.Generator, surprise: Floats, outlook: Floats) -> Floats:
        mood = self._mood.run(generator.standard_normal(BLOCK))
        noise = 0.70 * generator.standard_normal(BLOCK)
        return 0.22 * (0.40 * np.clip(surprise, -4, 4) + 0.45 * outlook + mood + noise)


def _extremes(
    generator: np.random.Generator, returns: Floats, sigma: Floats
) -> tuple[Floats, Floats]:
    # The maximum of a Brownian bridge, by inversion: M = (r + sqrt(r^2 - 2 s^2 ln U)) / 2.
    reach = -2.0 * (0.8 * sigma) ** 2 * np.log(1.0 - generator.random((2, BLOCK)))
    high = 0.5 * (returns + np.sqrt(returns**2 + reach[0]))
    low = 0.5 * (returns - np.sqrt(returns**2 + reach[1]))
    return high, low


def hours_since_epoch(ms: int) -> int:
    """Return the index of the hour in which instant `ms` [since 1970] falls."""
    return (ms - EPOCH) // HOUR
