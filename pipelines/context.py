"""What a step is handed: settings, and the lake, ledger, registry and source made on first use.

Every step is `step(context, as_of) -> StepReport`.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pipelines.clock import format_instant
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.database import DatabaseUrls
    from pipelines.lake import Lake
    from pipelines.ledger import Ledger
    from pipelines.sources.exchange import ExchangeSource
    from pipelines.tracking.registry import Registry


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
    """

    def __init__(
        self,
        settings: Settings,
        *,
        databases: "DatabaseUrls | None" = None,
        source: "ExchangeSource | None" = None,
    ) -> None:
        self.settings = settings
        self._sources: dict[str, ExchangeSource] = {}
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

    def close(self) -> None:
        """Close what was opened."""
        while self._sources:
            self._sources.popitem()[1].close()
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
