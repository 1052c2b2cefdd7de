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
