"""How much each feature matters to a fit: by gain, by permutation and by Shapley values.

Gain is what the training rows say. The other two are measured on the span's purged out-of-fold rows, each
predicted by the fold that did not see it. A feature that others can stand in for loses little when it
alone is permuted; so the cluster of features that correlate with it is permuted, too.

References
----------
Breiman (2001), Random forests (permutation); Lopez de Prado (2020), Machine Learning for Asset
Managers, chapter 6 (clusters of features).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from training.config import TrainingConfig
from training.contributions import mean_contributions
from training.fitting import Fit, training_samples
from training.models.protocol import Floats
from training.panel import Panel
from training.permutation import examine, permutation_drops
from training.selection.choice import ranked_columns
from training.selection.clusters import correlation_clusters
from training.selection.information import mutual_information

Rows = npt.NDArray[np.int64]

KINDS = ("gain", "permutation", "cluster_permutation", "shap")


@dataclass(frozen=True)
class Importance:
    """What each feature, in the order of the panel's, was worth to a fit; NaN where not measured.

    Attributes
    ----------
    gain : array of float64, shape (k,)
        Share of the final fit's gain; sums to 1, or all 0.
    permutation : array of float64, shape (k,)
        Rise of out-of-fold log loss [nats a row] when the feature is permuted; about 0 or below for
        one that is of no use, or that others stand in for.
    cluster_permutation : array of float64, shape (k,)
        The same with all features of its cluster permuted together.
    shap : array of float64, shape (k,)
        Mean absolute Shapley value out of fold [log odds].
    """

    gain: Floats
    permutation: Floats
    cluster_permutation: Floats
    shap: Floats

    def by_feature(self, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Return feature -> kind -> value, None where not measured."""
        columns = {kind: getattr(self, kind).tolist() for kind in KINDS}
        return {
            name: {kind: _known(columns[kind][i]) for kind in KINDS} for i, name in enumerate(names)
        }


def measure_importance(
    panel: Panel,
    rows: Rows,
    final: Fit,
    folds: Sequence[tuple[Fit, Rows]],
    config: TrainingConfig,
) -> Importance:
    """Return the importance of every feature to the fit of one span.

    Parameters
    ----------
    panel : Panel
    rows : array of int64
        The span's training rows.
    final : Fit
        On all of them.
    folds : sequence of (Fit, array of int64)
        The span's inner folds: a fit and the rows it did not see.
    config : TrainingConfig

    Notes
    -----
    Which features are permuted is decided by the folds' gains, or by mutual information for a model
    that has none.
    """
    count = len(panel.feature_names)
    gain = final.spread(final.model.importance())
    nothing = np.full(count, np.nan)
    if not config.importance.columns:
        return Importance(gain, nothing, nothing, nothing)
    chosen, clusters = _candidates(panel, rows, [fit for fit, _ in folds], config)
    alone = [np.array([column]) for column in chosen]
    measured = [_examine(panel, fit, test, [*alone, *clusters], config) for fit, test in folds]
    drops = np.mean([drop for drop, _ in measured], axis=0)
    permutation, cluster_permutation = nothing.copy(), nothing.copy()
    permutation[chosen], cluster_permutation[chosen] = drops[: len(alone)], drops[len(alone) :]
    shap = np.mean([contribution for _, contribution in measured], axis=0)
    return Importance(gain, permutation, cluster_permutation, shap)


def _candidates(
    panel: Panel, rows: Rows, fits: Sequence[Fit], config: TrainingConfig
) -> tuple[Rows, list[Rows]]:
    """Return the features that are worth permuting, and the cluster of each."""
    samples = training_samples(panel, rows, config)
    X, learned, names = samples.observations.X, samples.observations.rows, panel.feature_names
    strength = np.mean([fit.spread(fit.model.importance()) for fit in fits], axis=0)
    if not strength.any():
        strength = mutual_information(X, samples.y, learned)
    chosen = ranked_columns(strength, names)[: config.importance.columns]
    cluster = correlation_clusters(X, learned, names, config.selection.max_correlation)
    return chosen, [np.flatnonzero(cluster == cluster[column]) for column in chosen]


def _examine(
    panel: Panel, fit: Fit, test: Rows, groups: Sequence[Rows], config: TrainingConfig
) -> tuple[Floats, Floats]:
    """Return one fold's drops by group, and its mean contributions by feature."""
    wanted, bar = config.importance, panel.timeframe / timedelta(days=1)
    context = fit.model.context_bars
    examined = examine(panel, test, rows=wanted.rows, context_bars=context)
    block_bars = max(round(wanted.block_days / bar), 1)
    drops = permutation_drops(
        fit.predict_proba, examined, groups, block_bars=block_bars, seed=config.search.seed
    )
    explained = mean_contributions(fit.model, fit.given(examined.observations).asked)
    if explained is None:
        return drops, np.full(len(panel.feature_names), np.nan)
    return drops, fit.spread(explained)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
