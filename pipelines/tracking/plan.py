"""What one training is: its inputs, its identity and its plan, handed from step to step as files.

`training_id` is a function of (as_of, configuration, data read). Running a training again with the
same three finds the run it left; rows that became known later do not change it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evaluation.backtest import BacktestResult, Outcome, backtest, evaluate, prepare
from pipelines.clock import format_instant, parse_instant, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ContractViolation
from pipelines.quality.refusals import without_refused
from pipelines.settings import Settings
from pipelines.symbols import is_contract
from training.config import LabelConfig, TrainingConfig
from training.panel import Panel, build_panel
from training.walk_forward import Window, history_needed

if TYPE_CHECKING:
    from mlflow.entities import Run

PLAN_FILE = "plan.json"
CHOSEN_FILE = "search/chosen.json"
_NOT_READ_BY_THE_FIT = frozenset({"ingested_at"})


@dataclass(frozen=True)
class Inputs:
    """The rows that a training reads: bars (with a run-up for volatility), features, funding paid."""

    bars: pl.DataFrame
    features: pl.DataFrame
    funding: pl.DataFrame | None = None

    def digest(self) -> str:
        """Return the SHA-256 of all values read; audit columns aside."""
        total = hashlib.sha256()
        frames = (self.bars, self.features, *([] if self.funding is None else [self.funding]))
        for frame in frames:
            for column in frame.get_columns():
                if column.name not in _NOT_READ_BY_THE_FIT:
                    total.update(column.name.encode())
                    total.update(_bytes(column))
        return total.hexdigest()

    def panel(self, label: LabelConfig, timeframe: timedelta, end: datetime) -> Panel:
        """Return features with the labels known at `end`; ContractViolation if they do not fit."""
        try:
            return build_panel(self.bars, self.features, label, timeframe=timeframe, end=end)
        except ValueError as error:
            raise ContractViolation(
                str(error), remedy="run `hourglass build-features` for the same instant, then train"
            ) from error

    def trade(
        self, settings: Settings, scores: pl.DataFrame | None, strategy: str = "model"
    ) -> BacktestResult:
        """Trade these bars with the engine, as the paper books would."""
        return backtest(
            self.bars,
            self.features,
            scores,
            costs=settings.costs,
            risk=settings.risk,
            initial_cash=settings.books.initial_cash,
            timeframe=timeframe_delta(settings.timeframe),
            strategy=strategy,
            funding=self.funding,
        )

    def trade_quickly(self, settings: Settings, scores: pl.DataFrame) -> Outcome:
        """Trade scores of one horizon as `trade` does, without the frames that explain it."""
        step = timeframe_delta(settings.timeframe)
        inputs = prepare(self.bars, self.features, timeframe=step, funding=self.funding)
        row, bar, symbol = inputs.panel.locate(scores)
        expected = np.full((inputs.panel.bars, len(inputs.panel.symbols)), np.nan)
        expected[bar, symbol] = scores["expected_return"].to_numpy()[row]
        return evaluate(
            inputs,
            expected,
            int(scores["horizon_bars"][0]),
            costs=settings.costs,
            risk=settings.risk,
            initial_cash=settings.books.initial_cash,
        )

    def between(self, start: datetime, end: datetime) -> "Inputs":
        """Return the rows with `start < known_at <= end`."""
        inside = (pl.col("known_at") > start) & (pl.col("known_at") <= end)
        funding = None if self.funding is None else self.funding.filter(inside)
        return Inputs(self.bars.filter(inside), self.features.filter(inside), funding)


@dataclass(frozen=True)
class TrainingPlan:
    """A training that was planned; later steps go by its configuration, not by theirs.

    `warm_start` says what the first trial tries and which training found it. `params` and
    `search_overlaps` are what the search chose and how many labels overlapped in its folds: nothing
    before `choose_params` has run.
    """

    training_id: str
    as_of: datetime
    first: datetime
    feature_set: str
    data_hash: str
    versions: dict[str, int]
    windows: tuple[Window, ...]
    warm_start: dict[str, Any] | None
    training: TrainingConfig
    params: dict[str, Any] = field(default_factory=dict)
    search_overlaps: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON types, without what the search chose."""
        planned = {k: v for k, v in self.__dict__.items() if k not in ("params", "search_overlaps")}
        return {
            **planned,
            "as_of": format_instant(self.as_of),
            "first": format_instant(self.first),
            "windows": [window.as_json() for window in self.windows],
            "training": self.training.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "TrainingPlan":
        """Read what `as_json` wrote."""
        changed = {
            "as_of": parse_instant(tree["as_of"]),
            "first": parse_instant(tree["first"]),
            "windows": tuple(Window.from_json(window) for window in tree["windows"]),
            "training": TrainingConfig.model_validate(tree["training"]),
        }
        return cls(**{**tree, **changed})


def read_inputs(
    context: Context, as_of: datetime, versions: Mapping[str, int], training: TrainingConfig
) -> Inputs:
    """Read the bars and features of a training from the lake, at the given table versions.

    The steps of one process read them once.

    Raises
    ------
    ContractViolation
        If there are no features in the span.
    """
    step = timeframe_delta(context.settings.timeframe)
    start = as_of - history_needed(training, timeframe=step)
    run_up = (training.label.volatility_window + 1) * step
    key = (start, as_of, run_up, tuple(sorted(versions.items())))
    return context.once(
        "inputs", key, lambda: _read_inputs(context, start, as_of, run_up, versions)
    )


def _read_inputs(
    context: Context,
    start: datetime,
    as_of: datetime,
    run_up: timedelta,
    versions: Mapping[str, int],
) -> Inputs:
    settings = context.settings

    def read(table: str, start: datetime) -> pl.DataFrame:
        symbols = settings.universe
        version = versions[table]
        frame = context.lake.read(table, start=start, end=as_of, symbols=symbols, version=version)
        return frame.filter(pl.col("venue") == settings.venue)

    features = without_refused(context.lake, read("features", start))
    if features.is_empty():
        raise ContractViolation(
            f"features: no rows of {settings.venue} from {format_instant(start)} to "
            f"{format_instant(as_of)}; nothing was trained",
            remedy="run `hourglass backfill` and `hourglass build-features` first",
        )
    funding = read("funding", start) if "funding" in versions else None
    return Inputs(read("bars", start - run_up), features, funding)


def read_panel(context: Context, plan: TrainingPlan) -> tuple[Inputs, Panel]:
    """Return the inputs of a planned training and their panel, labels as known at its `as_of`.

    The steps of one process make it once.
    """
    inputs = read_inputs(context, plan.as_of, plan.versions, plan.training)
    step = timeframe_delta(context.settings.timeframe)
    label = plan.training.label
    key = (plan.training_id, label)
    panel = context.once("panel", key, lambda: inputs.panel(label, step, plan.as_of))
    return inputs, panel


def current_versions(context: Context) -> dict[str, int]:
    """Return the newest versions of the tables that a training reads.

    Raises
    ------
    ContractViolation
        If one of them does not exist.
    """
    paid = ["funding"] if any(map(is_contract, context.settings.universe)) else []
    versions = {table: context.lake.version(table) for table in ("bars", "features", *paid)}
    absent = [table for table, version in versions.items() if version is None]
    if absent:
        raise ContractViolation(
            f"the lake has no {' and no '.join(absent)} yet; nothing was trained",
            remedy="run `hourglass backfill` and `hourglass build-features` first",
        )
    return {table: version for table, version in versions.items() if version is not None}


def training_id(settings: Settings, as_of: datetime, feature_set: str, data_hash: str) -> str:
    """Return the identity of a training, 16 hexadecimal digits."""
    identity = {
        "as_of": format_instant(as_of),
        "config": configuration(settings),
        "feature_set": feature_set,
        "data": data_hash,
    }
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def configuration(settings: Settings) -> dict[str, Any]:
    """Return the settings on which a model depends: no addresses, secrets, threads or workers."""
    tree = settings.model_dump(mode="json")
    chosen = {name: tree[name] for name in ("venue", "timeframe", "universe", "training", "costs")}
    for name in ("threads", "gates"):
        chosen["training"].pop(name)
    chosen["training"]["search"].pop("workers")
    return {**chosen, "risk": tree["risk"], "initial_cash": tree["books"]["initial_cash"]}


def load_plan(context: Context, training_id: str) -> "tuple[Run, TrainingPlan]":
    """Return the parent run of a searched training and its plan, with the parameters that were chosen.

    Raises
    ------
    ContractViolation
        If no such training was planned, or its search is not over.
    """
    run, plan = load_unsearched(context, training_id)
    if not is_searched(run):
        raise ContractViolation(
            f"training {training_id} was not searched",
            remedy="run search and then choose-params for it, or train again",
        )
    chosen = read_chosen(context, run)
    return run, replace(
        plan, params=chosen["params"], search_overlaps=int(chosen["search_overlaps"])
    )


def load_unsearched(context: Context, training_id: str) -> "tuple[Run, TrainingPlan]":
    """Return the parent run of a planned training and its plan, searched or not.

    Raises
    ------
    ContractViolation
        If no such training was planned.
    """
    tracking = context.registry.tracking
    run = tracking.run_of(training_id)
    if run is None or not is_planned(run):
        raise ContractViolation(
            f"training {training_id} was not planned",
            remedy="run plan-windows for it, or train again",
        )
    return run, TrainingPlan.from_json(tracking.read_json(run.info.run_id, PLAN_FILE))


def is_planned(run: "Run") -> bool:
    """Say whether a training's plan stands, whole."""
    return "planned" in run.data.tags


def is_searched(run: "Run") -> bool:
    """Say whether a training's parameters were chosen."""
    return "searched" in run.data.tags


def read_chosen(context: Context, run: "Run") -> dict[str, Any]:
    """Return what `choose_params` wrote: params, trial, value, search_overlaps."""
    chosen: dict[str, Any] = context.registry.tracking.read_json(run.info.run_id, CHOSEN_FILE)
    return chosen


def search_end(context: Context, run: "Run") -> datetime:
    """Return the instant after which the search of a planned training saw nothing.

    Of the plan only this is read: the configuration of one made long ago may have other keys.
    """
    tree = context.registry.tracking.read_json(run.info.run_id, PLAN_FILE)
    return Window.from_json(tree["windows"][0]).test_start


def run_of(run: "Run") -> dict[str, str]:
    """Return where a run is found, for a step's report."""
    return {"run_id": str(run.info.run_id), "experiment_id": str(run.info.experiment_id)}


def feature_set_of(context: Context) -> str:
    """Return the hash of the feature set that the features table holds.

    Raises
    ------
    ContractViolation
        If the table does not say.
    """
    found = context.lake.metadata("features").get("feature_set")
    if found is None:
        raise ContractViolation(
            "features: the table does not name its feature set",
            remedy="run `hourglass build-features` for its whole history",
        )
    return found


def _bytes(column: pl.Series) -> bytes:
    if column.dtype == pl.String:
        return "\0".join(column.fill_null("").to_list()).encode()
    values = column.to_physical()
    if values.null_count() or values.dtype.is_float():
        kind = np.float32 if values.dtype == pl.Float32 else np.float64
        values = values.cast(pl.Float32 if kind is np.float32 else pl.Float64).fill_null(np.nan)
    return values.to_numpy().tobytes()
