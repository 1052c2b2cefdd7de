"""What a unified symbol says of its market: `BTC/USDT` is spot, `BTC/USDT:USDT` a contract."""


def is_contract(symbol: str) -> bool:
    """Say whether `symbol` is a contract: something settled in a currency, not owned."""
    return ":" in symbol


def is_linear_perpetual(symbol: str) -> bool:
    """Say whether `symbol` is a perpetual that is settled in what it is quoted in.

    Dated contracts (``BTC/USDT:USDT-250926``) and inverse ones (``BTC/USD:BTC``) are not.
    """
    pair, _, settled = symbol.partition(":")
    return bool(settled) and pair.partition("/")[2] == settled


def perpetual_of(symbol: str) -> str:
    """Return the perpetual in dollars that a traded symbol is read with: itself, or that of its coin.

    `BTC/USDT` and `BTC/KRW` go with `BTC/USDT:USDT`; whether a venue lists it is the venue's to say.
    """
    return symbol if is_contract(symbol) else f"{symbol.partition('/')[0]}/USDT:USDT"
