"""How long a search of a large panel takes, and what its shortcuts cost. Prints; asserts nothing.

Three things: a search as `hourglass train` runs it (20 trials, 5 purged folds, 100 rounds, the engine's net
return as the objective, Optuna on PostgreSQL; trials that fall behind are given up, a fit takes one row in six
and the columns chosen for it); the out-of-fold loss of its thinned rows beside that of a fit on all of them; and
a retraining without a search in the shape of FreqAI's (300 trees, 540 columns, three pairs), as one fit and as
all that a test window of `hourglass train` does.
Ten real pairs from 2021 on, with what was said beside them, where they are beside the repository, a random
market of the size where not; sources without a history are random.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bench_features import HOUR, START, filled, whole_market
from sqlalchemy.engine import make_url

from features.matrix import build_matrix
from pipelines.database import embedded_server
from pipelines.tracking.search import result_of, run_search
from pipelines.tracking.study import Study
from serving.config import CostConfig, RiskConfig
from training.config import TrainingConfig
from training.fitting import training_samples
from training.models import make_model
from training.panel import Panel, build_panel
from training.tuning import Earn, Rows, engine_earnings, evaluate_trial, search_folds
from training.walk_forward import fit_span, inner_folds, score_rows

CONFIG = TrainingConfig.model_validate(
    {
        "model_params": {"rounds": 100},
        "split": {"inner_folds": 5},
        "search": {"trials": 20, "objective": "net_return"},
    }
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Models of a retraining, with what differs from their defaults.
RETRAINED = {"xgboost": {"colsample_bytree": 0.3, "max_depth": 4}, "lightgbm": {}}


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `work` returns, wall seconds and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def peak() -> float:
    """Return the largest memory this process has had, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def engine(bars: pl.DataFrame, features: pl.DataFrame, panel: Panel) -> Callable[[Rows], Earn]:
    """Return what makes the engine of a fold."""

    def of(test: Rows) -> Earn:
        keys = panel.keys[test]
        inside = pl.col("known_at").is_between(keys["known_at"].min(), keys["known_at"].max())
        return engine_earnings(
            bars.filter(inside),
            features.filter(inside),
            keys,
            CONFIG.label.horizon_bars,
            costs=CostConfig(),
            risk=RiskConfig(),
            initial_cash=100_000,
            timeframe=HOUR,
        )

    return of


def search(panel: Panel, rows: Rows, make_engine: Callable[[Rows], Earn], pruner: str) -> Any:
    """Run the search on a PostgreSQL of its own and print what it took."""
    settings = CONFIG.search.model_copy(update={"pruner": pruner})
    (folds, _), prepared, _ = timed(lambda: search_folds(panel, rows, CONFIG, make_engine))
    with tempfile.TemporaryDirectory(prefix="hourglass-bench-") as folder:
        server = embedded_server(Path(folder) / "data")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        with Study(url.render_as_string(hide_password=False), "bench") as study:
            _, wall, cpu = timed(
                lambda: run_search(
                    study, settings, lambda trial: evaluate_trial(trial, panel, folds, CONFIG)
                )
            )
            result = result_of(study, settings)
        server.cleanup()
    ran = sum(len(trial["folds"]) for trial in result.trials)
    given_up = sum(trial["state"] == "pruned" for trial in result.trials)
    trains = [train for train, _ in inner_folds(panel, rows, CONFIG, name="bench")[0]]
    held = np.mean([train.size for train in trains])
    kept = np.mean([panel.thinned(train, CONFIG.sample_every_bars).sum() for train in trains])
    print(
        f"search, {pruner}: {wall:.0f} s ({cpu:.0f} s of processor), folds prepared in {prepared:.1f} s; "
        f"{ran} of {settings.trials * len(folds)} fold fits ran ({given_up} of {settings.trials} trials were given up), each on "
        f"{kept:,.0f} of {held:,.0f} training rows (one in {CONFIG.sample_every_bars}) and "
        f"{folds[0].asked.X.shape[1]} of {panel.X.shape[1]} columns; best {result.value:.4f}, "
        f"peak {peak():.1f} GB"
    )
    return result


def out_of_fold_losses(panel: Panel, rows: Rows, params: dict[str, Any], every: int) -> Any:
    """Return the log loss of every row from the fold that did not see it, and the seconds of the fits."""
    config = CONFIG.model_copy(update={"sample_every_bars": every, "model_params": {}})
    losses, seconds = np.full(panel.X.shape[0], np.nan), 0.0
    for train, test in inner_folds(panel, rows, config, name="bench")[0]:
        samples = training_samples(panel, train, config)
        model, wall, _ = timed(lambda samples=samples: make_model(config, params).fit(samples))
        proba = model.predict_proba(panel.observations(test))
        losses[test] = -np.log(proba[np.arange(test.size), panel.outcome[test]].clip(1e-9))
        seconds += wall
    return losses[rows], seconds


def weekly_standard_error(losses: Any, known_at: Any) -> float:
    """Return the standard error of the mean loss, taking weeks as independent and rows inside them not."""
    week = known_at // (7 * 24 * 3600 * 1_000_000)
    means = np.array([losses[week == one].mean() for one in np.unique(week)])
    return float(means.std(ddof=1) / np.sqrt(means.size))


def thinning(panel: Panel, rows: Rows, params: dict[str, Any]) -> None:
    """Print the out-of-fold loss of one row in six and of all rows."""
    thinned, quick = out_of_fold_losses(panel, rows, params, 6)
    full, slow = out_of_fold_losses(panel, rows, params, 1)
    error = weekly_standard_error(full, panel.known_at[rows])
    print(
        f"out-of-fold log loss: {thinned.mean():.5f} with one row in six ({quick:.0f} s), "
        f"{full.mean():.5f} with all ({slow:.0f} s); difference {thinned.mean() - full.mean():+.5f}, "
        f"standard error {error:.5f}; base rates {base_rate_loss(panel, rows):.5f}"
    )


def base_rate_loss(panel: Panel, rows: Rows) -> float:
    """Return the log loss of always saying how often each class comes."""
    share = np.bincount(panel.outcome[rows], minlength=3) / rows.size
    return float(-(share * np.log(share)).sum())


def wide_panel(panel: Panel, since: int, columns: int) -> Panel:
    """Return three pairs known after `since`, with so many columns.

    Products of two columns stand for those that are missing: their cost is that of any other.
    """
    pairs = {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
    three = pairs if pairs <= set(panel.symbols) else panel.symbols[:3]
    asked = [panel.symbols.index(pair) for pair in three]
    rows = np.flatnonzero(np.isin(panel.symbol, asked) & (panel.known_at > since))
    rng = np.random.default_rng(7)
    left, right = rng.integers(0, panel.X.shape[1], (2, columns - panel.X.shape[1]))
    X = np.hstack([panel.X[rows], panel.X[np.ix_(rows, left)] * panel.X[np.ix_(rows, right)]])
    per_row = ("symbol", "known_at", "label_end", "outcome", "realised", "scale")
    return replace(
        panel,
        keys=panel.keys[rows],
        X=np.ascontiguousarray(np.where(np.isfinite(X), X, np.nan), dtype=np.float32),
        feature_names=(*panel.feature_names, *(f"product_{place}" for place in range(left.size))),
        **{name: getattr(panel, name)[rows] for name in per_row},
    )


def retraining(panel: Panel) -> None:
    """Print a retraining of three pairs on 540 columns: as FreqAI does it by default, and as we do."""
    year, quarter = (timedelta(days=days) // timedelta(microseconds=1) for days in (365, 90))
    end = int(panel.known_at.max()) - quarter
    panel = wide_panel(panel, end - year, 540)
    train = np.flatnonzero(panel.labelled & (panel.label_end < end))
    test = np.flatnonzero(panel.labelled & (panel.known_at > end))
    print(
        f"retraining: {train.size:,} rows, {panel.X.shape[1]} columns, 300 trees, {test.size:,} rows after"
    )

    def plain() -> Any:
        import lightgbm  # after `pipelines`, which says how its threads wait

        given = {"objective": "multiclass", "num_class": 3, "num_threads": 2, "verbose": -1}
        data = lightgbm.Dataset(panel.X[train], panel.outcome[train])
        return lightgbm.train(given, data, 100).predict(panel.X[test])

    def one_fit(name: str) -> Any:
        samples = training_samples(panel, train, CONFIG)
        model = make_model(CONFIG.model_copy(update={"model": name}), RETRAINED[name])
        return model.fit(samples).predict_proba(panel.observations(test))

    def whole_window(name: str) -> Any:
        config = CONFIG.model_copy(update={"model": name})
        start, stop = (EPOCH + timedelta(microseconds=at) for at in (end - year, end))
        fitted = fit_span(
            panel, RETRAINED[name], config, start=start, end=stop, feature_set="", name="bench"
        )
        return score_rows(fitted.scorer, panel, test).select("p_down", "p_flat", "p_up").to_numpy()

    thinned = f"one row in {CONFIG.sample_every_bars}"
    fits = f"{CONFIG.split.inner_folds} folds and a final fit, each with columns of its own choice"
    ways = {"LightGBM with its defaults, all rows, one fit": plain}
    ways |= {f"ours, {name}, {thinned}, one fit": partial(one_fit, name) for name in RETRAINED}
    ways |= {
        f"ours, {name}, {thinned}, a whole window ({fits}, calibration, interval, importance)": partial(
            whole_window, name
        )
        for name in RETRAINED
    }
    print(
        "  timed with the prediction of the rows after; `one fit` has no folds, no choice of columns and "
        "no calibration; the log loss is that of the rows after, which no fit saw"
    )
    for name, work in ways.items():
        proba, wall, cpu = timed(work)
        hit = proba[np.arange(test.size), panel.outcome[test]].clip(1e-9)
        loss = float(np.average(-np.log(hit), weights=panel.weights(test)))
        print(f"  {name}: {wall:.2f} s ({cpu:.2f} s of processor), log loss {loss:.4f}")


def main() -> None:
    """Run the three, each once."""
    bars = whole_market()
    features, wall, _ = timed(lambda: build_matrix(bars, timeframe=HOUR))
    end = bars["known_at"].max()
    panel, built, _ = timed(
        lambda: build_panel(bars, features, CONFIG.label, timeframe=HOUR, end=end)
    )
    rows = panel.training_rows(START, end)
    print(
        f"{len(panel.X):,} rows x {panel.X.shape[1]} columns, {filled(features)} with values; features {wall:.1f} s, panel {built:.1f} s"
    )
    retraining(panel)
    result = search(panel, rows, engine(bars, features, panel), "wilcoxon")
    thinning(panel, rows, {**result.params, "rounds": 100})


if __name__ == "__main__":
    main()
