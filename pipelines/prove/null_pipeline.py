"""That the shortcut is the pipeline: a short life through its own steps, and again in one go.

The pipeline's way: the real client asks the simulated venue, every hour runs the whole chain, models are
trained and registered by `train`, and at midnight `compare_models` and `promote_model` decide. The
short way is that of `null_books` and `null_reigns` on the same bars with the same models. Blocks and
bounds are smaller than a home's, and evidence is told but not required: a few days hold too little of
it, and there must be promotions, new reigns and evidence that begins anew.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.context import Context
from pipelines.database import temporary_database
from pipelines.market_simulator import SyntheticMarket, running_simulator
from pipelines.prove.null_agreement import Agreement, lay_beside
from pipelines.prove.null_books import START, STEP, SYMBOLS, LifeConfig
from pipelines.replay import run_hour
from pipelines.settings import Settings, load_settings
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features
from pipelines.steps.compare_models import compare_models
from pipelines.steps.promote_model import promote_model
from pipelines.steps.train import train

DAYS = 5
SIGNAL = 0.4
_DAY = timedelta(days=1)
_HISTORY = timedelta(days=50)
# Days on which a challenger comes, the first one with the champion.
_ARRIVALS = (0, 2)
_FAMILIES = ("cross_asset", "momentum", "orderflow", "trend", "volatility")
Tell = Callable[[int, int, str], None]


def full_life(
    settings: Settings, config: LifeConfig, seed: int, tell: Tell | None = None
) -> Agreement:
    """Lead one short life both ways, in a lake, a ledger and a registry of its own; gone afterwards.

    Parameters
    ----------
    settings : Settings
        Of the home, whose database server is used.
    config : LifeConfig
    seed : int
        Of the market.
    tell : callable, optional
        Told (days done, days, what).
    """
    market = SyntheticMarket(SYMBOLS, seed=seed, signal=SIGNAL)
    end = START + DAYS * _DAY
    with (
        running_simulator(market, now=end + timedelta(minutes=1)) as exchange,
        _own_context(settings, config, exchange.base_url) as own,
    ):
        _walk(own, end, tell)
        return lay_beside(own, config_of(own.settings, config), START - _HISTORY, end)


def config_of(settings: Settings, config: LifeConfig) -> LifeConfig:
    """Return the short way's view of the pipeline's settings."""
    return replace(
        config,
        days=DAYS,
        max_challengers=settings.books.max_challengers,
        challenger_days=settings.books.challenger_days,
        comparison=settings.comparison,
        promotion=settings.promotion,
        costs=settings.costs,
        risk=settings.risk,
        training=settings.training,
        initial_cash=settings.books.initial_cash,
    )


@contextmanager
def _own_context(settings: Settings, config: LifeConfig, url: str) -> Iterator[Context]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hourglass-null-"))
        own = _settings_of(settings, config, Path(folder), url)
        names = ("ledger", "mlflow", "optuna")
        made = {name: stack.enter_context(temporary_database(settings, name)) for name in names}
        with Context(settings) as home:
            databases = replace(home.databases, **made)
        yield stack.enter_context(Context(own, databases=databases))


def _settings_of(settings: Settings, config: LifeConfig, home: Path, url: str) -> Settings:
    """Return settings of a short life: an empty home, few features, small models, small bounds."""
    training = config.training.model_copy(
        update={
            "label": config.training.label.model_copy(update={"horizon_bars": 6}),
            "split": config.training.split.model_copy(
                update={"windows": 2, "test_days": 4.0, "train_days": 25.0}
            ),
            "search": config.training.search.model_copy(update={"trials": 1}),
        }
    )
    comparison = settings.comparison.model_copy(
        update={
            "level": 0.9,
            "block_hours": 4.0,
            "loss_block_hours": 24.0,
            "scale_blocks": 3,
            "minimum_blocks": 4,
        }
    )
    promotion = settings.promotion.model_copy(
        update={
            "mode": "automatic",
            "required": ("log_loss", "bars", "trades", "drawdown"),
            "bars": 40,
            "trades": 1,
            "guard": settings.promotion.guard.model_copy(
                update={"drawdown": 1.0, "loss": 1.0, "calibration": False}
            ),
        }
    )
    fresh = load_settings({"home": str(home)}, environ={})
    return fresh.model_copy(
        update={
            "database_url": settings.database_url,
            "universe": SYMBOLS,
            "exchange": fresh.exchange.model_copy(update={"base_url": url}),
            "sources": fresh.sources.model_copy(update={"enabled": ()}),
            "features": fresh.features.model_copy(update={"families": _FAMILIES}),
            "books": fresh.books.model_copy(
                update={"initial_cash": config.initial_cash, "max_challengers": 2}
            ),
            "training": training,
            "comparison": comparison,
            "promotion": promotion,
            "costs": config.costs,
            "risk": config.risk,
        }
    )


def _walk(own: Context, end: datetime, tell: Tell | None) -> None:
    """Train, trade hour by hour, compare and decide at midnight, in the order of the daily DAGs."""
    backfill(own, START - _HISTORY, START)
    build_features(own, START)
    _train(own, START, seed=1, rounds=1)
    for day in range(DAYS + 1):
        midnight = START + day * _DAY
        if day in _ARRIVALS:
            _train(own, midnight, seed=day + 2)
        if day:
            compare_models(own, midnight)
            promote_model(own, midnight)
        if tell:
            tell(day, DAYS, "days through the pipeline")
        if midnight < end:
            for hour in range(1, 25):
                run_hour(own, midnight + hour * STEP)


def _train(own: Context, as_of: datetime, *, seed: int, rounds: int | None = None) -> None:
    """Train as of an instant; a seed or a number of rounds of its own makes it another training."""
    training = own.settings.training
    params = (
        training.model_params if rounds is None else {**training.model_params, "rounds": rounds}
    )
    search = training.search.model_copy(update={"seed": seed})
    chosen = training.model_copy(update={"search": search, "model_params": params})
    kept, own.settings = own.settings, own.settings.model_copy(update={"training": chosen})
    try:
        train(own, as_of)
    finally:
        own.settings = kept
