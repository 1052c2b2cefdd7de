"""What scores were worth by how confident they were."""

import numpy as np
import polars as pl

from evaluation.calibration import brier_score, log_loss
from evaluation.reliability.scored import (
    BINS,
    both_returns,
    known_rows,
)


def by_confidence(scored: pl.DataFrame, *, bins: int = BINS) -> pl.DataFrame:
    """Return what scores were worth from the least to the most confident tenth.

    Confidence is the probability of the likeliest class; where it pays, `accuracy` grows down the
    table.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    bins : int
        Equally filled bins; fewer come back where rows are fewer.

    Returns
    -------
    polars.DataFrame
        `bin` (1 the least confident), `rows`, `confidence` (mean), `accuracy` of the likeliest class,
        `directional_accuracy` (sign of the expected against the realised return), `brier` [0..2],
        `log_loss` [nats], `expected_return`, `realised_return`, `expected_size` (means; the last of
        the expectation's absolute value), `earned` (mean of the realised return times the sign of
        the expected one) [log return over the horizon].

    Raises
    ------
    ValueError
        If no outcome is known.
    """
    known, proba, outcome = known_rows(scored)
    confidence = proba.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    expected, realised = both_returns(known)
    rows = []
    for number, part in enumerate(p for p in np.array_split(order, bins) if p.size):
        sign = np.sign(expected[part])
        rows.append(
            {
                "bin": number + 1,
                "rows": part.size,
                "confidence": float(confidence[part].mean()),
                "accuracy": float(np.mean(proba[part].argmax(axis=1) == outcome[part])),
                "directional_accuracy": float(np.mean(sign == np.sign(realised[part]))),
                "brier": brier_score(proba[part], outcome[part]),
                "log_loss": log_loss(proba[part], outcome[part]),
                "expected_return": float(expected[part].mean()),
                "realised_return": float(realised[part].mean()),
                "expected_size": float(np.abs(expected[part]).mean()),
                "earned": float(np.mean(sign * realised[part])),
            }
        )
    return pl.DataFrame(rows)
