"""What members say of rows that they were not fitted on: the only thing a combination may learn from.

A member knows its own training rows too well; a combination fitted on what it says of them trusts the
member that memorises best. So every row is foretold by members fitted on purged folds without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from training.errors import TooLittleData
from training.models.protocol import Floats, Model
from training.samples import Classes, Samples
from training.splits import PurgedKFold, SplitAudit, audit_split


@dataclass(frozen=True)
class FoldForm:
    """A fold: its training rows in the form of each member, and the places of its test rows."""

    prepared: tuple[Any, ...]
    test: Classes


@dataclass(frozen=True)
class EnsembleForm:
    """Samples in the form of each member: all of them, and those of every inner fold.

    Attributes
    ----------
    samples : Samples
    horizons : tuple
        Horizons [bars] that all members learn, one after another; None is that of the samples.
    full : tuple
        All samples, once a horizon and member.
    folds : tuple of FoldForm
    audits : tuple of SplitAudit
        Of the folds.
    """

    samples: Samples
    horizons: tuple[int | None, ...]
    full: tuple[Any, ...]
    folds: tuple[FoldForm, ...] = ()
    audits: tuple[SplitAudit, ...] = ()


def prepare_members(
    samples: Samples, models: Sequence[Model], *, folds: int, horizons: tuple[int | None, ...]
) -> EnsembleForm:
    """Return samples, and audited purged folds of them, in the form of each member.

    Parameters
    ----------
    samples : Samples
    models : sequence of Model
        Unfitted members.
    folds : int
        0 for a combination that learns nothing.
    horizons : tuple
        As in `EnsembleForm`.

    Raises
    ------
    TooLittleData
        If a fold has no rows, or no row has a label over one of the horizons.
    ValueError
        If a training label overlaps its test interval.
    """

    def forms(learned: Samples) -> tuple[Any, ...]:
        over = [learned if bars is None else _over(learned, bars) for bars in horizons]
        return tuple(model.prepare(part) for part in over for model in models)

    made, audits = [], []
    for name, train, test in _purged(samples, folds):
        audits.append(_audited(name, samples, train, test))
        made.append(FoldForm(forms(samples.of(train)), test))
    return EnsembleForm(samples, horizons, forms(samples), tuple(made), tuple(audits))


def out_of_fold_proba(form: EnsembleForm, make: Callable[[], Sequence[Model]]) -> Floats:
    """Return what fresh members say of every row, fitted on the folds without it.

    Parameters
    ----------
    form : EnsembleForm
    make : callable
        Returns unfitted members, one for each entry of `form.full`.

    Returns
    -------
    array of float64, shape (members, n, 3)
    """
    observations = form.samples.observations
    proba = np.empty((len(form.full), observations.rows.size, 3))
    for fold in form.folds:
        asked = observations.of(observations.rows[fold.test])
        for place, (model, prepared) in enumerate(zip(make(), fold.prepared, strict=True)):
            proba[place, fold.test] = model.fit_prepared(prepared).predict_proba(asked)
    return proba


def _purged(samples: Samples, folds: int) -> list[tuple[str, Classes, Classes]]:
    if folds == 0:
        return []
    splitter = PurgedKFold(folds, samples.embargo)
    pairs = splitter.split(samples.known_at, samples.label_end)
    return [(f"ensemble fold {k}", train, test) for k, (train, test) in enumerate(pairs)]


def _audited(name: str, samples: Samples, train: Classes, test: Classes) -> SplitAudit:
    bar = samples.observations.bar[samples.observations.rows]
    bar_length = np.ptp(samples.known_at) // max(int(np.ptp(bar)), 1)
    return audit_split(
        name,
        samples.known_at,
        samples.label_end,
        train,
        test,
        timeframe=timedelta(microseconds=max(int(bar_length), 1)),
    )


def _over(samples: Samples, bars: int) -> Samples:
    if not (samples.others[bars].y >= 0).any():
        raise TooLittleData(
            f"no row has a label over {bars} bars; leave it out of training.label.extra_horizons"
        )
    return samples.over(bars)
