"""One fit: features chosen from its samples, a model of these, and both together as one predictor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.projection import Projection, projected
from training.config import TrainingConfig
from training.models import make_model
from training.models.protocol import Floats, Model
from training.panel import Panel
from training.samples import Samples
from training.selection import choose

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """A fitted model behind the features that were chosen for it; asked with all features.

    Parameters
    ----------
    model : Model
        Fitted on the columns of `projection`.
    projection : Projection or None
        None gives the model all features.
    feature_names : tuple of str, length k
    """

    model: Model
    projection: Projection | None
    feature_names: tuple[str, ...]

    def given(self, observations: Observations) -> Observations:
        """Return what the model itself sees of observations of all features."""
        context = self.model.context_bars
        return projected(self.projection, observations, self.feature_names, context)

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        return self.model.predict_proba(self.given(observations))

    def spread(self, importance: Floats) -> Floats:
        """Return the importance of the model's columns as that of features, shape (k,)."""
        if self.projection is None:
            return importance
        return self.projection.spread(importance, self.feature_names)


def fit_rows(panel: Panel, rows: Rows, params: Mapping[str, Any], config: TrainingConfig) -> Fit:
    """Choose features and fit a model, both from `rows` of the panel and nothing else."""
    model = make_model(config, params)
    samples, projection = selected_samples(panel, rows, config, model.context_bars)
    return Fit(model.fit(samples), projection, panel.feature_names)


def selected_samples(
    panel: Panel, rows: Rows, config: TrainingConfig, context_bars: int
) -> tuple[Samples, Projection | None]:
    """Return what a model is fitted on, with the columns that were chosen from these very samples."""
    samples = training_samples(panel, rows, config)
    projection = choose(samples, panel.feature_names, config.selection)
    given = projected(projection, samples.observations, panel.feature_names, context_bars)
    return samples.with_observations(given), projection


def training_samples(panel: Panel, rows: Rows, config: TrainingConfig) -> Samples:
    """Return what a fit on `rows` learns from: weighed by uniqueness, then thinned."""
    every, embargo = config.sample_every_bars, config.split.embargo_bars
    return panel.samples(rows, every=every, embargo_bars=embargo)
