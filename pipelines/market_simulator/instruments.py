"""What is traded: coins with realistic scales, and the markets they are listed on.

A market is listed on one of three exchanges: ``binance_spot`` and ``binance_perp`` (USD-M
perpetuals) under ids such as ``BTCUSDT``, ``upbit_spot`` under ids such as ``KRW-BTC``. These names
are also the folders of a replay. A coin nobody knows gets a scale that is a pure function of its
name, so any symbol set can be simulated.
"""

import hashlib
import math
import re
from dataclasses import dataclass

from pipelines.errors import ConfigError

EXCHANGES = ("binance_spot", "binance_perp", "upbit_spot")
DOLLARS = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD")
KRW_PER_DOLLAR = 1300.0

_UNIFIED = re.compile(r"^([A-Z0-9]+)/([A-Z0-9]+)(?::([A-Z0-9]+))?$")
_QUOTES = (*DOLLARS, "BTC", "ETH", "BNB", "EUR", "TRY")


@dataclass(frozen=True)
class Coin:
    """The scales of one coin.

    Parameters
    ----------
    price : float
        Typical price in 2024 [dollars].
    volatility : float
        Annual standard deviation of log returns of its own, beside the market's [fraction].
    beta : float
        Sensitivity to the market factor.
    turnover : float
        Typical spot volume of an hour [dollars].
    """

    price: float
    volatility: float
    beta: float
    turnover: float


_COINS = {
    "BTC": Coin(43_000.0, 0.27, 1.0, 8.0e7),
    "ETH": Coin(2_400.0, 0.42, 1.2, 4.0e7),
    "SOL": Coin(100.0, 0.85, 1.4, 1.0e7),
    "XRP": Coin(0.60, 0.75, 1.15, 8.0e6),
    "ADA": Coin(0.50, 0.65, 1.3, 4.0e6),
    "BNB": Coin(310.0, 0.50, 1.1, 6.0e6),
    "DOGE": Coin(0.09, 0.95, 1.3, 5.0e6),
    "AVAX": Coin(36.0, 0.80, 1.4, 3.0e6),
    "LINK": Coin(15.0, 0.70, 1.3, 2.5e6),
    "LTC": Coin(72.0, 0.55, 1.2, 2.0e6),
    "MATIC": Coin(0.80, 0.85, 1.35, 3.0e6),
    "XMR": Coin(160.0, 0.60, 0.9, 8.0e5),
}


def coin(name: str) -> Coin:
    """Return the scales of a coin; those of an unknown one follow from its name alone."""
    if name in _COINS:
        return _COINS[name]
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    a, b, c, d = (int.from_bytes(digest[4 * i : 4 * i + 4], "big") / 2**32 for i in range(4))
    return Coin(
        price=10.0 ** (-1.5 + 3.5 * a),
        volatility=0.6 + 0.5 * b,
        beta=0.9 + 0.6 * c,
        turnover=10.0 ** (5.3 + 1.2 * d),
    )


@dataclass(frozen=True)
class Instrument:
    """One market of one exchange.

    Parameters
    ----------
    exchange : str
        One of `EXCHANGES`.
    id : str
        The venue's own id, ``BTCUSDT`` or ``KRW-BTC``.
    base, quote : str
    price_decimals, volume_decimals : int
        Decimals of the tick [quote] and of the lot [base]; negative for ticks above one.
    minimum_notional : float
        [quote]
    listed_at : int
        First instant at which it is traded [ms since 1970].
    delisted_at : int or None
        Instant from which it is not [ms since 1970].
    """

    exchange: str
    id: str
    base: str
    quote: str
    price_decimals: int
    volume_decimals: int
    minimum_notional: float
    listed_at: int
    delisted_at: int | None = None

    @property
    def symbol(self) -> str:
        """The ccxt unified symbol."""
        pair = f"{self.base}/{self.quote}"
        return f"{pair}:{self.quote}" if self.exchange == "binance_perp" else pair

    @property
    def tick(self) -> float:
        """Smallest change of price [quote]."""
        return float(10.0**-self.price_decimals)

    @property
    def lot(self) -> float:
        """Smallest change of quantity [base]."""
        return float(10.0**-self.volume_decimals)


def instrument(exchange: str, base: str, quote: str, listed_at: int) -> Instrument:
    """Return the market of `base` against `quote` with a realistic tick, lot and minimum notional."""
    price = coin(base).price
    if quote == "KRW":
        tick_decimals, minimum = 4 - _magnitude(price * KRW_PER_DOLLAR), 5_000.0
    else:
        perpetual = exchange == "binance_perp"
        fewest = 1 if perpetual and price >= 10_000 else 2
        digits = 5 if perpetual else 6
        tick_decimals, minimum = min(8, max(fewest, digits - _magnitude(price))), 5.0
    return Instrument(
        exchange=exchange,
        id=f"{quote}-{base}" if exchange == "upbit_spot" else f"{base}{quote}",
        base=base,
        quote=quote,
        price_decimals=tick_decimals,
        volume_decimals=max(0, min(5, _magnitude(price) + 1)),
        minimum_notional=minimum,
        listed_at=listed_at,
    )


def instrument_of_symbol(symbol: str, listed_at: int) -> Instrument:
    """Return the market of a ccxt unified symbol (``BTC/USDT``, ``BTC/USDT:USDT``, ``BTC/KRW``).

    Raises
    ------
    ConfigError
        If it is not such a symbol, or is quoted in a currency the simulator has no price of.
    """
    match = _UNIFIED.match(symbol)
    if match is None:
        raise ConfigError(f"{symbol!r} is not a unified symbol", remedy="write it as BTC/USDT")
    base, quote, settle = match.groups()
    if quote not in (*DOLLARS, "KRW") or settle not in (None, quote) or (settle and quote == "KRW"):
        raise ConfigError(
            f"{symbol!r} cannot be simulated",
            remedy="quote it in USDT (spot BTC/USDT, perpetual BTC/USDT:USDT) or KRW (BTC/KRW)",
        )
    exchange = "upbit_spot" if quote == "KRW" else "binance_perp" if settle else "binance_spot"
    return instrument(exchange, base, quote, listed_at)


def instrument_of_id(exchange: str, market_id: str, listed_at: int) -> Instrument:
    """Return the market a venue calls `market_id`; ConfigError if its quote currency is unknown."""
    if exchange == "upbit_spot":
        quote, _, base = market_id.partition("-")
        return instrument(exchange, base, quote, listed_at)
    quote = next((q for q in _QUOTES if market_id.endswith(q) and market_id != q), "")
    if not quote:
        raise ConfigError(
            f"{market_id!r} of {exchange} ends in no known quote currency",
            remedy=f"name the file after a market quoted in one of {', '.join(_QUOTES)}",
        )
    return instrument(exchange, market_id.removesuffix(quote), quote, listed_at)


def _magnitude(price: float) -> int:
    return math.floor(math.log10(price))
