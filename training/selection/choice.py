"""Which columns a fit gets: by information, one a cluster of correlated ones, or a cluster's summary."""

import numpy as np
import numpy.typing as npt

from serving.projection import Component, Projection
from training.config import SelectionConfig
from training.samples import Samples
from training.selection.clusters import correlation_clusters
from training.selection.components import first_component
from training.selection.information import mutual_information

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]


def choose(samples: Samples, names: tuple[str, ...], config: SelectionConfig) -> Projection | None:
    """Return the columns that a fit on `samples` is given, or None for all of them.

    Parameters
    ----------
    samples : Samples
        Training rows; only their features and classes are looked at, whatever else the observations
        hold.
    names : tuple of str, length k
        Features, in the order of the columns.
    config : SelectionConfig

    Returns
    -------
    Projection or None
        At most `keep` columns: the most informative ones (``mutual_information``), the most informative
        of each cluster (``clusters``), or each cluster's first principal component, a cluster of one as
        it is (``pca``); clusters rank by their most informative member, equals by name.
    """
    if config.method == "none":
        return None
    observations = samples.observations
    X, rows = observations.X, observations.rows
    information = mutual_information(X, samples.y, rows)
    ranked = ranked_columns(information, names)
    if config.method == "mutual_information":
        return _kept(ranked[: config.keep], names)
    cluster = correlation_clusters(X, rows, names, config.max_correlation)
    leaders = ranked[np.sort(np.unique(cluster[ranked], return_index=True)[1])][: config.keep]
    if config.method == "clusters":
        return _kept(leaders, names)
    return _summarised(samples, names, cluster, leaders)


def ranked_columns(information: Floats, names: tuple[str, ...]) -> Columns:
    """Return the columns from the most informative to the least; equals by name."""
    return np.lexsort((np.array(names), -information))


def _kept(columns: Columns, names: tuple[str, ...]) -> Projection:
    return Projection(tuple(names[column] for column in np.sort(columns)))


def _summarised(
    samples: Samples, names: tuple[str, ...], cluster: Columns, leaders: Columns
) -> Projection:
    by_name = np.argsort(np.array(names))
    single: list[int] = []
    components: list[Component] = []
    for leader in leaders:
        members = by_name[cluster[by_name] == cluster[leader]]
        X = samples.observations.X[np.ix_(samples.observations.rows, members)]
        summary = first_component(X, [names[member] for member in members])
        if summary is None:
            single.append(int(leader))
        else:
            components.append(summary)
    return Projection(tuple(names[column] for column in sorted(single)), tuple(components))
