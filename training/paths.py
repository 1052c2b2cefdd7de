"""One set of parameters along many paths through one history, no step of them by a fit that saw it.

The walk-forward is one path, and its order may have been kind. Combinatorial purged cross-validation
(`training.combinatorial`) predicts every block of time several times from what is unrelated to it, and
lays the predictions end to end as several histories: their spread says how much of a result was the path.
The fits are out of sample, the parameters are not: the history begins with the span on which they were
chosen, so the level of the paths flatters there, and only the spread is to be read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.combinatorial import CombinatorialPurgedCV
from training.config import TrainingConfig
from training.fitting import Rows, fit_rows
from training.models.protocol import Floats
from training.panel import Panel
from training.splits import SplitAudit, audit_split
from training.walk_forward import class_returns

TESTED = 2


def path_expectations(
    panel: Panel, rows: Rows, params: Mapping[str, Any], config: TrainingConfig
) -> tuple[Floats, list[SplitAudit]]:
    """Return the expected return of every row along every path, and the audits of all splits.

    Every two of `evidence.combinatorial_groups` blocks are predicted from the others. As in a search,
    probabilities are not calibrated, and classes are worth the mean returns of the training rows.

    Parameters
    ----------
    panel : Panel
    rows : array of int64, shape (n,)
        Labelled rows.
    params, config
        Of the model.

    Returns
    -------
    expected : array of float64, shape (groups - 1, n)
        Log return over the horizon; NaN where the volatility is not known.
    audits : list of SplitAudit

    Raises
    ------
    TooLittleData
        If a block has no rows, or a split leaves nothing to train on.
    """
    embargo = config.split.embargo_bars * panel.timeframe
    splitter = CombinatorialPurgedCV(config.evidence.combinatorial_groups, TESTED, embargo)
    known_at, label_end = panel.known_at[rows], panel.label_end[rows]
    predictions, audits = [], []
    for number, (train, test) in enumerate(splitter.split(known_at, label_end)):
        name = f"combinatorial split {number}"
        audits.append(
            audit_split(name, known_at, label_end, train, test, timeframe=panel.timeframe)
        )
        proba = fit_rows(panel, rows[train], params, config).predict_proba(
            panel.observations(rows[test])
        )
        predictions.append(proba @ _worth(panel, rows[train]) * panel.scale[rows[test]])
    return splitter.along_paths(known_at, predictions), audits


def _worth(panel: Panel, train: Rows) -> Floats:
    scaled = panel.realised[train] / panel.scale[train]
    return np.asarray(class_returns(scaled, panel.outcome[train], panel.weights(train)))
