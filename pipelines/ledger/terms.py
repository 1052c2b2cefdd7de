"""The terms under which a book trades: symbols, venue filters, costs, limits. Recorded in the ledger.

They are written down when a book first trades, and again whenever the configuration differs from
what was written last; every hour is traded under recorded terms, so that a re-run and a backtest
need neither the network nor the configuration of that day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.ledger.ledger import Standing
from pipelines.ledger.rows import assets_of
from pipelines.symbols import is_contract
from serving.config import CostConfig, RiskConfig
from serving.market import Filters

_ONE_KIND = (
    "a paper book trades spot pairs of one quote currency, or perpetuals of one settlement currency"
)


@dataclass(frozen=True)
class Terms:
    """What one book trades, and how."""

    timeframe: str
    symbols: tuple[str, ...]
    filters: Mapping[str, Filters]
    costs: CostConfig
    risk: RiskConfig

    def as_json(self) -> dict[str, Any]:
        """Return the terms as JSON types."""
        return {
            "timeframe": self.timeframe,
            "symbols": list(self.symbols),
            "filters": {symbol: asdict(self.filters[symbol]) for symbol in self.symbols},
            "costs": self.costs.model_dump(mode="json"),
            "risk": self.risk.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Terms":
        """Return the terms `as_json` wrote."""
        return cls(
            timeframe=stored["timeframe"],
            symbols=tuple(stored["symbols"]),
            filters={symbol: Filters(**found) for symbol, found in stored["filters"].items()},
            costs=CostConfig.model_validate(stored["costs"]),
            risk=RiskConfig.model_validate(stored["risk"]),
        )


def held_symbols(state: Mapping[str, Any] | None) -> set[str]:
    """Return the symbols a stored state holds or has an order for."""
    positions = state["positions"] if state else {}
    return {
        symbol
        for symbol, position in positions.items()
        if float(position["quantity"]) or float(position["pending"])
    }


def known_filters(context: Context, standings: Sequence[Standing]) -> dict[str, Filters]:
    """Return the venue filters of the universe and of all that is held.

    Those the ledger has recorded are not asked for again: the venue is only met for a new symbol.

    Raises
    ------
    ConfigError
        If the universe mixes currencies, or spot pairs and contracts.
    SourceUnavailable
        If the venue must be asked and does not answer.
    """
    symbols = traded_symbols(context, (held for s in standings for held in held_symbols(s.state)))
    filters: dict[str, Filters] = {}
    for standing in standings:
        if standing.terms is not None:
            filters |= Terms.from_json(standing.terms).filters
    missing = [symbol for symbol in symbols if symbol not in filters]
    if missing:
        for symbol, stated in context.source.filters(missing).items():
            filters[symbol] = Filters(stated.lot, stated.tick, stated.minimum_notional)
    return filters


def traded_symbols(context: Context, held: Iterable[str]) -> tuple[str, ...]:
    """Return the universe and what is `held` although the universe dropped it, sorted.

    Raises
    ------
    ConfigError
        If the universe mixes currencies, or spot pairs and contracts.
    """
    symbols = tuple(sorted({*context.settings.universe, *held}))
    quotes = sorted({assets_of(symbol)[1] for symbol in symbols})
    contracts = [symbol for symbol in symbols if is_contract(symbol)]
    if len(quotes) > 1:
        raise ConfigError(
            f"universe holds {', '.join(quotes)}: {_ONE_KIND}", remedy="mend universe"
        )
    if contracts and len(contracts) < len(symbols):
        spot = next(symbol for symbol in symbols if not is_contract(symbol))
        raise ConfigError(
            f"universe holds {contracts[0]} beside {spot}: {_ONE_KIND}",
            remedy="mend universe; books that still hold the others need a home of their own",
        )
    return symbols


def current_terms(context: Context, standing: Standing, filters: Mapping[str, Filters]) -> Terms:
    """Return the terms the settings ask for: their universe and whatever the book still holds."""
    settings = context.settings
    symbols = traded_symbols(context, held_symbols(standing.state))
    chosen = {symbol: filters[symbol] for symbol in symbols}
    return Terms(settings.timeframe, symbols, chosen, settings.costs, settings.risk)
