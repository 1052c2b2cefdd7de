"""What a step is handed: settings, and the lake, ledger, registry and source made on first use.

Every step is `step(context, as_of) -> StepReport`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.clock import format_instant
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.database import DatabaseUrls
    from pipelines.lake import Lake
    from pipelines.ledger import Ledger
    from pipelines.settings import ExchangeConfig
    from pipelines.sources.client import VenueClient
    from pipelines.sources.exchange import ExchangeSource
    from pipelines.tracking.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class StepReport:
    """What one run of a step did; `changed` is false where a re-run found all in place."""

    step: str
    as_of: datetime
    changed: bool
    detail: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return {**asdict(self), "as_of": format_instant(self.as_of)}


class Context:
    """The world, as one step sees it. Components are made on first use and closed together.

    Parameters
    ----------
    settings : Settings
    databases : DatabaseUrls, optional
        By default those the settings name; a rehearsal has a ledger of its own.
    source : ExchangeSource, optional
        By default a client of the venue.
    origin : mapping, optional
        Who asked for it, as tags of what is written down, e.g. the address of an Airflow run.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        databases: "DatabaseUrls | None" = None,
        source: "ExchangeSource | None" = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.origin = dict(origin or {})
        # What the steps of one process hand on to each other, by name: read once, used by several.
        self.kept: dict[str, tuple[object, Any]] = {}
        self._sources: dict[str, ExchangeSource] = {}
        self._publishers: dict[str, VenueClient] = {}
        if databases is not None:
            self.__dict__["databases"] = databases
        if source is not None:
            self._sources[settings.venue] = source

    @cached_property
    def databases(self) -> "DatabaseUrls":
        """The databases' URLs; starts the embedded server if need be."""
        from pipelines.database import open_databases

        return open_databases(self.settings)

    @cached_property
    def lake(self) -> "Lake":
        """The lake."""
        from pipelines.lake import Lake

        return Lake(self.settings.lake_uri, self.settings.lake.storage_options)

    @cached_property
    def ledger(self) -> "Ledger":
        """The paper ledger, migrated to the newest schema."""
        from pipelines.ledger import Ledger

        return Ledger(self.databases.ledger)

    @cached_property
    def registry(self) -> "Registry":
        """The model registry."""
        from pipelines.tracking.registry import Registry

        return Registry(self.settings, self.databases)

    @cached_property
    def source(self) -> "ExchangeSource":
        """The venue of the traded market."""
        return self.source_of(self.settings.venue)

    def source_of(self, venue: str) -> "ExchangeSource":
        """Return the client of `venue`, one a context; ConfigError if ccxt does not know it."""
        from pipelines.sources.exchange import ExchangeSource

        if venue not in self._sources:
            self._sources[venue] = ExchangeSource(venue, self.settings.exchange)
        return self._sources[venue]

    def derivatives(self) -> "ExchangeSource":
        """Return the venue of the perpetuals beside the traded market, asked with less patience."""
        from pipelines.sources.exchange import ExchangeSource

        venue = self.settings.sources.derivatives_venue
        key = f"derivatives of {venue}"
        if key not in self._sources:
            self._sources[key] = ExchangeSource(venue, self._supplementary())
        return self._sources[key]

    def publisher(self, name: str) -> "VenueClient":
        """Return the client of a publisher of indices, one a context."""
        from pipelines.sources.client import VenueClient
        from pipelines.sources.retry import Clockwork

        if name not in self._publishers:
            self._publishers[name] = VenueClient(name, self._supplementary(), Clockwork())
        return self._publishers[name]

    def _supplementary(self) -> "ExchangeConfig":
        """Return how sources are asked that trading does not wait for."""
        exchange, sources = self.settings.exchange, self.settings.sources
        return exchange.model_copy(
            update={
                "base_url": sources.base_url or exchange.base_url,
                "max_attempts": sources.max_attempts,
                "circuit_failures": 2 * sources.max_attempts,
            }
        )

    def once(self, name: str, key: object, make: Callable[[], T]) -> T:
        """Return what is kept under `name` if it was made for `key`, else make it anew."""
        standing = self.kept.get(name)
        if standing is None or standing[0] != key:
            self.kept.pop(name, None)
            standing = self.kept[name] = (key, make())
        found: T = standing[1]
        return found

    def close(self) -> None:
        """Close what was opened and forget what was kept."""
        self.kept.clear()
        while self._sources:
            self._sources.popitem()[1].close()
        while self._publishers:
            self._publishers.popitem()[1].close()
        self.__dict__.pop("source", None)
        for name in ("ledger", "registry"):
            component = self.__dict__.pop(name, None)
            if component is not None:
                component.close()

    def __enter__(self) -> "Context":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
