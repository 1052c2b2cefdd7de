"""The scorer: a predictor with its calibration, expected return and interval, as files.

A scorer is a folder: `scorer.json` and the predictor's own files, whose hashes it holds; an ensemble
keeps its members' files in subfolders. It knows nothing of how it was trained and imports neither `training` nor a tracking library.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from serving.bounds import ResidualBounds
from serving.calibration import calibrate
from serving.observations import Observations
from serving.predictors import Predictor, load_predictor
from serving.projection import Projection, projected

SPEC_FILE = "scorer.json"


@dataclass(frozen=True)
class ScorerSpec:
    """Everything of a scorer that is not the predictor itself.

    Parameters
    ----------
    predictor : str
        Kind of predictor, a key of `serving.predictors.PREDICTORS`.
    feature_names : tuple of str
        Columns of X, in order.
    feature_set : str
        Hash of the feature set that the model was fitted on.
    scale_feature : str
        Feature that holds the volatility [log return per bar] known at the bar; returns are learned
        in units of `scale_feature * sqrt(horizon_bars)`.
    horizon_bars : int
        Bars over which returns are foreseen.
    bar_seconds : int
        Length of a bar.
    calibration : dict
        Parameters of `serving.calibration.calibrate`.
    class_returns : tuple of three floats
        Mean realised return of the classes down, flat, up [scale units].
    residual_bounds : ResidualBounds
        Of (realised - expected) [scale units], by group of volatility.
    train_start, train_end : datetime
        The model saw labels of bars known after `train_start`, all ended by `train_end`.
    projection : Projection or None
        Columns that the predictor is given; None gives it all features.
    files : dict
        SHA-256 of the predictor's files, by their path within the folder.
    """

    predictor: str
    feature_names: tuple[str, ...]
    feature_set: str
    scale_feature: str
    horizon_bars: int
    bar_seconds: int
    calibration: dict[str, Any]
    class_returns: tuple[float, float, float]
    residual_bounds: ResidualBounds
    train_start: datetime
    train_end: datetime
    projection: Projection | None = None
    files: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON types."""
        instants = {name: getattr(self, name).isoformat() for name in ("train_start", "train_end")}
        return {**asdict(self), **instants}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "ScorerSpec":
        """Read what `as_json` wrote; ValueError if a key is missing or not known."""
        try:
            return cls(
                **{
                    **tree,
                    "feature_names": tuple(tree["feature_names"]),
                    "class_returns": tuple(tree["class_returns"]),
                    "residual_bounds": ResidualBounds.from_json(tree["residual_bounds"]),
                    "train_start": datetime.fromisoformat(tree["train_start"]),
                    "train_end": datetime.fromisoformat(tree["train_end"]),
                    "projection": tree.get("projection")
                    and Projection.from_json(tree["projection"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{SPEC_FILE} does not describe a scorer: {error}") from None


class Scorer:
    """Scores rows of features; the same object in training, backtest and live scoring."""

    def __init__(self, spec: ScorerSpec, predictor: Predictor) -> None:
        self.spec = spec
        self.predictor = predictor

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of X, in order."""
        return self.spec.feature_names

    @property
    def feature_set(self) -> str:
        """Hash of the feature set."""
        return self.spec.feature_set

    @property
    def horizon_bars(self) -> int:
        """Bars over which returns are foreseen."""
        return self.spec.horizon_bars

    @property
    def context_bars(self) -> int:
        """Bars, the scored one included, whose features a score may depend on."""
        return self.predictor.context_bars

    @property
    def train_end(self) -> datetime:
        """The instant by which every label that the model saw had ended."""
        return self.spec.train_end

    @cached_property
    def _scale_column(self) -> int:
        return self.feature_names.index(self.spec.scale_feature)

    def check_feature_set(self, feature_set: str) -> None:
        """Raise ValueError unless `feature_set` is the one that the model was fitted on."""
        if feature_set != self.feature_set:
            raise ValueError(
                f"the model was fitted on feature set {self.feature_set}, "
                f"the features at hand are {feature_set}"
            )

    def score(self, observations: Observations) -> dict[str, npt.NDArray[Any]]:
        """Return the score columns of every asked row.

        Parameters
        ----------
        observations : Observations
            Features in the order of `feature_names`; n rows are asked for.

        Returns
        -------
        dict of arrays, shape (n,)
            `p_down`, `p_flat`, `p_up` (sum 1); `expected_return`, `lower`, `upper` [log return over
            `horizon_bars`], NaN where the scale feature is NaN; `horizon_bars`.

        Raises
        ------
        ValueError
            If X does not have one column a feature.
        """
        X = observations.X
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise ValueError(
                f"X has shape {X.shape}; the model wants (n, {len(self.feature_names)})"
            )
        given = projected(self.spec.projection, observations, self.feature_names, self.context_bars)
        proba = calibrate(self.predictor.predict_proba(given), self.spec.calibration)
        volatility = X[observations.rows, self._scale_column].astype(np.float64)
        scale = volatility * np.sqrt(self.horizon_bars)
        # Summed a column at a time: a matrix product may round one row otherwise among many than alone.
        expected = sum(proba[:, k] * self.spec.class_returns[k] for k in range(3)) * scale
        below, above = self.spec.residual_bounds.at(scale)
        return {
            "p_down": proba[:, 0],
            "p_flat": proba[:, 1],
            "p_up": proba[:, 2],
            "expected_return": expected,
            "lower": expected + below * scale,
            "upper": expected + above * scale,
            "horizon_bars": np.full(scale.size, self.horizon_bars, dtype=np.int64),
        }

    def save(self, folder: Path) -> str:
        """Write the scorer into `folder` (made if absent) and return its hash."""
        folder.mkdir(parents=True, exist_ok=True)
        self.predictor.save(folder)
        files = {name: _sha256(folder / name) for name in _files(folder)}
        spec = {**self.spec.as_json(), "files": files}
        text = json.dumps(spec, indent=1, sort_keys=True) + "\n"
        (folder / SPEC_FILE).write_text(text, encoding="utf-8")
        return _sha256(folder / SPEC_FILE)

    @classmethod
    def load(cls, folder: Path, *, expected_hash: str | None = None) -> "Scorer":
        """Read a scorer, refusing files that are not the ones that were saved.

        Parameters
        ----------
        folder : Path
        expected_hash : str, optional
            What `save` returned; by it `scorer.json` is checked, and by that all other files.

        Raises
        ------
        ValueError
            If a file is missing, damaged or another than was saved, or was not saved at all.
        """
        path = folder / SPEC_FILE
        if not path.is_file():
            raise ValueError(f"{folder} holds no {SPEC_FILE}; it is not a scorer")
        if expected_hash is not None:
            _refuse_other(path, expected_hash)
        spec = ScorerSpec.from_json(json.loads(path.read_text(encoding="utf-8")))
        for name, digest in spec.files.items():
            _refuse_other(folder / name, digest)
        if strange := sorted(set(_files(folder)) - set(spec.files)):
            raise ValueError(f"{folder} holds {', '.join(strange)}, which the scorer did not save")
        return cls(spec, load_predictor(spec.predictor, folder))


def score_frame(
    scorer: Scorer,
    keys: pl.DataFrame,
    X: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64] | None = None,
) -> pl.DataFrame:
    """Score rows and return their keys with the score columns.

    Parameters
    ----------
    scorer : Scorer
    keys : polars.DataFrame
        m rows that say what stands in X (venue, symbol, known_at).
    X : array of float32, shape (m, k)
        Features in the order of `scorer.feature_names`; NaN means missing.
    rows : array of int64, shape (n,), optional
        Row numbers that are scored; the others are their past, which a model with `context_bars`
        above 1 looks at. By default all.

    Returns
    -------
    polars.DataFrame
        In the order of `rows`; rows whose volatility is not known have no expectation and are left
        out.
    """
    observations = Observations.from_frame(keys, X, scorer.spec.bar_seconds, rows)
    asked = keys if rows is None else keys[rows]
    scored = asked.with_columns(**{n: pl.Series(v) for n, v in scorer.score(observations).items()})
    return scored.filter(pl.col("expected_return").is_finite())


def score_after(scorer: Scorer, features: pl.DataFrame, start: datetime) -> pl.DataFrame:
    """Score the rows of a frame of features that are known after `start`; the others are their past.

    Parameters
    ----------
    scorer : Scorer
    features : polars.DataFrame
        venue, symbol, known_at and the model's features, from `first_needed` on.
    start : datetime
    """
    rows = np.flatnonzero((features["known_at"] > start).to_numpy())
    X = features.select(scorer.feature_names).to_numpy()
    return score_frame(scorer, features.select("venue", "symbol", "known_at"), X, rows)


def first_needed(scorer: Scorer, start: datetime) -> datetime:
    """Return the instant after which features are needed to score what is known after `start`."""
    return start - (scorer.context_bars - 1) * timedelta(seconds=scorer.spec.bar_seconds)


def _files(folder: Path) -> list[str]:
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name != SPEC_FILE)


def _refuse_other(path: Path, digest: str) -> None:
    found = _sha256(path) if path.is_file() else "missing"
    if found != digest:
        raise ValueError(f"{path} has hash {found[:12]}, registered is {digest[:12]}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
