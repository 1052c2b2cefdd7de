"""The paper ledger: books, their hours, promotions, and the audit of all of it. Append-only.

Every hour of all books is one transaction under the ledger's lock, so two schedulers by mistake
write each hour once. Positions and cash are folds over postings; before an hour is traded they are
checked against the engine state it starts from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import psycopg
import sqlalchemy as sa

from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.ledger.books import (
    RETIRED,
    Book,
    Kind,
    Promotion,
    Standing,
    add_event,
    champion_of,
    insert_book,
    read_books,
    read_promotions,
    read_standings,
)
from pipelines.ledger.checks import all_findings, count_rows
from pipelines.ledger.gains import read_gains
from pipelines.ledger.hours import Folds, Hour
from pipelines.ledger.journal import read_journal
from pipelines.ledger.migration import lock_ledger, migrate
from pipelines.ledger.overruling import overrule
from pipelines.ledger.profits import ProfitRecords, read_profits
from pipelines.ledger.promoting import newest_hour, promote
from pipelines.ledger.returns import count_fills, read_curve, read_returns
from pipelines.ledger.rights import WRITER
from pipelines.ledger.rows import id_of
from pipelines.ledger.schema import audit
from pipelines.ledger.shadows import Shadow, insert_shadow, read_shadows
from pipelines.ledger.snapshot import Snapshot, replace_rows
from pipelines.ledger.status import describe_ledger
from serving.books import STRATEGIES
from serving.state import to_counts, to_decimal

__all__ = ["Book", "Hour", "Ledger", "Promotion", "Standing"]


class Ledger:
    """The ledger of one PostgreSQL database; migrates on construction.

    Attributes
    ----------
    append_only_by_right : bool
        Whether its connections may only read and append (see `rights`). Where the login could not
        make that role, the triggers alone refuse changes.

    Raises
    ------
    SourceUnavailable
        If the database does not answer.
    ContractViolation
        If it was written by a newer version.
    """

    def __init__(self, url: str) -> None:
        # The owner migrates and restores; all else is read and appended in the writer's role.
        self._owner = _engine(url, poolclass=sa.NullPool)
        with _answers():
            self.append_only_by_right = migrate(self._owner)
        role = WRITER if self.append_only_by_right else None
        self._engine = _engine(url, role, pool_size=2, pool_pre_ping=True)
        self._folds = Folds()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def open_book(
        self,
        name: str,
        *,
        strategy: str,
        model_version: str | None = None,
        opened_at: datetime,
        initial_cash: float,
        reason: str,
        decided_by: str,
    ) -> Book:
        """Open a book, or return it if it stands: the first bar it trades is known after `opened_at`.

        Raises
        ------
        ContractViolation
            If a book of this name was opened otherwise, or the strategy is not known.
        """
        if strategy not in STRATEGIES or (strategy == "model") != (model_version is not None):
            raise ContractViolation(
                f"book {name}: strategy {strategy!r} with model version {model_version!r}",
                remedy=f"strategies are {', '.join(STRATEGIES)}; only a model has a version",
            )
        cash = to_decimal(to_counts(initial_cash))
        wanted = Book(id_of("book", name), name, strategy, model_version, opened_at, cash)
        with self._write() as connection:
            standing = next((b for b in read_books(connection) if b.name == name), None)
            if standing is None:
                insert_book(connection, wanted, reason, decided_by)
                return wanted
        same = ("strategy", "model_version", "opened_at", "initial_cash")
        if any(getattr(standing, key) != getattr(wanted, key) for key in same):
            raise ContractViolation(
                f"book {name} was opened as {standing}, not as {wanted}",
                remedy="give the new book another name",
            )
        return standing

    def retire_book(self, name: str, *, at: datetime, reason: str, decided_by: str) -> bool:
        """Let the bar known at `at` be the last the book trades; False if it is retired already."""
        with self._write() as connection:
            book = next((b for b in read_books(connection) if b.name == name), None)
            if book is None:
                raise ContractViolation(f"book {name} does not exist", remedy="`hourglass status`")
            if book.retired_at is not None:
                return False
            add_event(connection, book, at, RETIRED, {}, reason, decided_by)
            return True

    def control(
        self,
        action: str,
        names: Sequence[str] | None,
        *,
        step: timedelta,
        reason: str,
        decided_by: str,
    ) -> list[dict[str, Any]]:
        """Pause, resume or liquidate books from the next hour each of them will trade.

        Parameters
        ----------
        action : {"pause", "resume", "liquidate"}
        names : sequence of str or None
            Books by name; None is every book that is not retired: the kill switch.
        step : timedelta
            The timeframe of the books.

        Returns
        -------
        list of dict
            ``{"book", "mode", "effective_from", "changed"}``, one a book; `changed` is false where it
            stood like that already, and nothing was written for it.

        Raises
        ------
        ConfigError
            If a book does not exist or is retired: nothing was written for any.
        """
        with self._write() as connection:
            return overrule(connection, action, names, step, reason, decided_by)

    def books(self) -> list[Book]:
        """Return every book ever opened, by opening and name."""
        with self._read() as connection:
            return read_books(connection)

    def live_books(self, as_of: datetime) -> list[Book]:
        """Return the books that trade the bar known at `as_of`."""
        return [book for book in self.books() if book.is_live(as_of)]

    def promote(
        self,
        version: str,
        *,
        effective_from: datetime,
        kind: Kind,
        reason: str,
        decided_by: str,
        evidence: Mapping[str, Any] | None = None,
        succeeding: str | None = None,
    ) -> bool:
        """Make `version` the champion from an instant on; False if it is that from then on already.

        A promotion of kind `first` is none, and False, where there was a champion before.

        Parameters
        ----------
        version : str
        effective_from : datetime
        kind : str
            One of `books.Kind`.
        reason, decided_by : str
            Kept in the audit chain.
        evidence : mapping, optional
            The numbers behind it, plain JSON types.
        succeeding : str, optional
            Whom it was judged against: of two who decide at once only one can be right.

        Raises
        ------
        ContractViolation
            If the instant is not after the newest promotion and the newest traded hour: the past is not
            rewritten. If another than `succeeding` is champion by now.
        """
        with self._write() as connection:
            return promote(
                connection,
                version,
                effective_from,
                kind=kind,
                reason=reason,
                decided_by=decided_by,
                evidence=evidence,
                succeeding=succeeding,
            )

    def promotions(self) -> list[Promotion]:
        """Return all promotions, oldest first."""
        with self._read() as connection:
            return read_promotions(connection)

    def champion_at(self, as_of: datetime) -> str | None:
        """Return the version whose role was champion at `as_of`; None before the first promotion."""
        promotion = champion_of(self.promotions(), as_of)
        return promotion.version if promotion else None

    def add_shadow(self, shadow: Shadow) -> bool:
        """Let a version be scored without a book; False if it is already."""
        with self._write() as connection:
            return insert_shadow(connection, shadow)

    def shadows(self) -> list[Shadow]:
        """Return every version that ever was a shadow, oldest first; see `shadows.shadows_at`."""
        with self._read() as connection:
            return read_shadows(connection)

    def last_traded_at(self) -> datetime | None:
        """Return the newest hour any book has traded."""
        with self._read() as connection:
            return newest_hour(connection)

    def standings(self) -> list[Standing]:
        """Return where every book stands."""
        with self._read() as connection:
            return read_standings(connection)

    @contextmanager
    def hour(self) -> Iterator[Hour]:
        """Open the transaction of one hour, alone: all of it is written, or nothing."""
        with self._write() as connection:
            yield Hour(self._folds, connection)

    def status(self, as_of: datetime) -> dict[str, Any]:
        """Return champion, books and health as plain JSON types, as things stood at `as_of`.

        ``{"champion": {"version", "since"} or None, "books": [{"book", "role", "model_version",
        "mode", "halted", "equity", "cash", "orders", "fills", "positions": [{"symbol", "quantity",
        "entry", "stop"}]}], "ledger": {"balanced", "audit_chain"}}``; `mode` is that of the next hour
        (run, pause, liquidate), `halted` the engine's own drawdown stop, `entry` the average cost with
        fees, `stop` null where there is none.
        """
        with self._read() as connection:
            return describe_ledger(connection, as_of)

    def verify(self, since: datetime | None = None) -> list[str]:
        """Recompute the ledger from nothing; return what is wrong.

        Balances and positions are folded from postings, the journal and the lots from fills; the
        audit chain is walked, and every decision and every hour compared with what it was told.

        Parameters
        ----------
        since : datetime, optional
            Compare only hours known after it with the chain: that part grows with every hour.
        """
        with self._read() as connection:
            return all_findings(connection, since)

    def counts(self) -> dict[str, int]:
        """Return how many rows every table holds."""
        with self._read() as connection:
            return count_rows(connection)

    def journal(self, name: str, most: int) -> list[dict[str, Any]]:
        """Return the newest round trips of a book; see `journal.read_journal`."""
        with self._read() as connection:
            return read_journal(connection, _named(connection, name).book_id, most)

    def gains(self, name: str, year: int | None = None) -> list[dict[str, Any]]:
        """Return what a book realised, lot by lot; see `gains.read_gains`."""
        with self._read() as connection:
            return read_gains(connection, _named(connection, name).book_id, year)

    def returns(self, name: str, end: datetime) -> tuple[pl.DataFrame, int]:
        """Return what a book earned bar by bar, and its fills; see `returns.read_returns`."""
        with self._read() as connection:
            book = _named(connection, name)
            return read_returns(connection, book.book_id, float(book.initial_cash), end)

    def curve(self, name: str, start: datetime, end: datetime) -> npt.NDArray[np.float64]:
        """Return a book's equity at every close from `start` to `end`; see `returns.read_curve`."""
        with self._read() as connection:
            return read_curve(connection, _named(connection, name).book_id, start, end)

    def fills(self, name: str, start: datetime, end: datetime) -> int:
        """Return how many fills a book had with `start < known_at <= end`."""
        with self._read() as connection:
            return count_fills(connection, _named(connection, name).book_id, start, end)

    def profits(self, end: datetime, name: str | None = None) -> ProfitRecords:
        """Return what the profit of one book, or of all, is made of; see `profits.read_profits`."""
        with self._read() as connection:
            books = read_books(connection) if name is None else [_named(connection, name)]
            return read_profits(connection, [book.book_id for book in books], end)

    def is_empty(self) -> bool:
        """Say whether nothing was ever written to the ledger."""
        with self._read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(audit)) == 0

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open the ledger as it stands now, to be read table by table while others go on writing."""
        with _answers(), self._engine.connect() as connection:
            frozen = connection.execution_options(isolation_level="REPEATABLE READ")
            with frozen.begin():
                yield Snapshot(frozen)

    def restore(
        self,
        rows: Mapping[str, tuple[Sequence[str], Iterable[bytes]]],
        head: Mapping[str, Any] | None,
        *,
        replace: bool,
        told: Callable[[str], None],
    ) -> None:
        """Put the rows of a snapshot in place, verified, or leave the ledger as it is.

        Parameters and errors as in `snapshot.replace_rows`.
        """
        with _answers(), self._owner.begin() as connection:
            lock_ledger(connection)
            try:
                replace_rows(connection, rows, head=head, replace=replace, told=told)
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                first_line = str(error).strip().splitlines()[0]
                raise ContractViolation(
                    f"the backup's rows do not fit the tables: {first_line}; nothing was restored",
                    remedy="use another backup",
                ) from error
        self._folds = Folds()

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _answers(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with _answers(), self._engine.begin() as connection:
            lock_ledger(connection)
            yield connection


def _named(connection: sa.Connection, name: str) -> Book:
    found = {book.name: book for book in read_books(connection)}
    if name not in found:
        raise ConfigError(
            f"book {name!r} does not exist", remedy=f"known: {', '.join(found) or 'none yet'}"
        )
    return found[name]


def _engine(url: str, role: str | None = None, **options: Any) -> sa.Engine:
    taken = f" -c role={role}" if role else ""
    return sa.create_engine(url, connect_args={"options": f"-c timezone=UTC{taken}"}, **options)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except (
        sa.exc.OperationalError,
        sa.exc.InterfaceError,
        psycopg.OperationalError,
        psycopg.InterfaceError,
    ) as error:
        first_line = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise SourceUnavailable(
            f"the ledger's database does not answer: {first_line}",
            remedy="start it, then run the same command again: the hour was not written",
        ) from error
