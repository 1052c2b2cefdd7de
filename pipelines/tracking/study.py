"""The durable record of a search: finished trials, and who is at work on which place in line.

A place is claimed with an advisory lock of PostgreSQL. The lock belongs to the worker's session: the
server frees it when the process is gone, however it went, and never because it is slow. A trial is
written once, whole, when it has finished; so there is nothing to clean up after a kill.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

PLACE = "place"
SECONDS = "seconds"

# Optuna tells of every study it makes, and one is made in memory for every trial.
optuna.logging.set_verbosity(optuna.logging.WARNING)

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_KEY = "CAST(:study AS int), CAST(:place AS int)"


class Study:
    """One Optuna study on PostgreSQL, as one worker sees it.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the Optuna database.
    name : str
    """

    def __init__(self, url: str, name: str) -> None:
        self._storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_size": 1})
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self._session = self._engine.connect()
        # As a signed 32-bit number, which is what the two-part lock takes.
        self._key = crc32(name.encode()) - 2**31
        self._study = optuna.create_study(
            study_name=name, storage=self._storage, direction="maximize", load_if_exists=True
        )

    def finished(self) -> dict[int, FrozenTrial]:
        """Return the finished trials by place, in order; a place that was recorded twice counts once."""
        found: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False, states=_FINISHED):
            found.setdefault(int(trial.user_attrs[PLACE]), trial)
        return dict(sorted(found.items()))

    @contextmanager
    def claim(self, places: Sequence[int]) -> Iterator[int]:
        """Hold the first of `places` that nobody holds; if all are held, wait for the first of them."""
        chosen = next(
            (place for place in places if self._lock("pg_try_advisory_lock", place)), None
        )
        if chosen is None:
            chosen = places[0]
            self._lock("pg_advisory_lock", chosen)
        yield chosen
        # Not in a `finally`: after an error the session ends, and the claim with it.
        self._lock("pg_advisory_unlock", chosen)

    def record(self, place: int, trial: FrozenTrial, seconds: float) -> None:
        """Write the finished trial of a claimed place, at once and whole."""
        self._session.execute(sa.text("SELECT 1"))  # raises if the session, and the claim, is gone
        attributes = {**trial.user_attrs, PLACE: place, SECONDS: seconds}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=trial.state,
                value=trial.value if trial.state is TrialState.COMPLETE else None,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=attributes,
                system_attrs=trial.system_attrs,
                intermediate_values=trial.intermediate_values,
            )
        )

    def write_notes(self, notes: Mapping[str, Any]) -> None:
        """Keep JSON values with the study; every worker has the same to say."""
        for key, value in notes.items():
            if key not in self.notes():
                self._study.set_user_attr(key, value)

    def notes(self) -> dict[str, Any]:
        """Return what `write_notes` kept."""
        return dict(self._study.user_attrs)

    def close(self) -> None:
        """Give the session back, and with it any claim."""
        self._session.close()
        self._engine.dispose()
        self._storage.remove_session()
        self._storage.engine.dispose()

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self, function: str, place: int) -> Any:
        query = sa.text(f"SELECT {function}({_KEY})")
        return self._session.scalar(query, {"study": self._key, "place": place})
