"""Typed settings: `config/hourglass.yaml` < environment `HOURGLASS_*` < command line.

Nested keys take a double underscore in the environment and lists are JSON:
`HOURGLASS_EXCHANGE__BASE_URL=http://127.0.0.1:8070`, `HOURGLASS_UNIVERSE='["BTC/USDT"]'`.
An unknown key is refused with the nearest known name.
"""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evaluation.comparison.config import ComparisonConfig
from evaluation.drift.config import DriftConfig
from evaluation.promotion.config import PromotionConfig
from pipelines.clock import TIMEFRAMES
from pipelines.errors import ConfigError
from pipelines.symbols import is_linear_perpetual
from serving.config import CostConfig, RiskConfig
from training.config import TrainingConfig

PREFIX = "HOURGLASS_"
# Where things are and how the command itself behaves; not keys of the settings tree.
_NOT_KEYS = frozenset({"HOURGLASS_CONFIG"})
SHIPPED_YAML = Path(__file__).resolve().parent.parent / "config" / "hourglass.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ExchangeConfig(_Section):
    """How the venue's public REST API is reached."""

    base_url: str | None = Field(
        None,
        description="Another host that speaks the venue's API (the simulator, a proxy); null means the real exchange.",
    )
    timeout_seconds: float = Field(10.0, gt=0, description="Longest wait for one answer.")
    max_attempts: int = Field(
        6, ge=1, description="Attempts at one request before the source counts as unavailable."
    )
    backoff_seconds: float = Field(
        0.5,
        ge=0,
        description="First pause between attempts; doubles, with full jitter; Retry-After wins.",
    )
    max_backoff_seconds: float = Field(60.0, ge=0, description="Longest pause between attempts.")
    circuit_failures: int = Field(
        20,
        ge=1,
        description="Failed attempts in a row, over all requests, that open the circuit breaker.",
    )
    parallel_requests: int = Field(
        4, ge=1, description="Requests under way at once, within the venue's rate limit."
    )
    rate_limit_per_minute: int | None = Field(
        None, ge=1, description="Requests a minute; null means the venue's own published limit."
    )


class IngestConfig(_Section):
    """What is fetched and what counts as a restatement."""

    history_start: str = Field(
        "2021-01-01T00:00Z", description="First bar a backfill without --start asks for."
    )
    restatement_hours: float = Field(
        48.0,
        ge=0,
        description="A closed bar restated within this age is overwritten and counted; an older difference is a contract violation.",
    )
    repair_hours: float = Field(
        48.0, ge=0, description="Gaps younger than this are asked for again every hour."
    )


class SourcesConfig(_Section):
    """What is read beside the bars, joined to them as of when it was known. None of it stops trading."""

    enabled: tuple[Literal["funding", "open_interest", "premium", "fear_greed", "macro"], ...] = (
        Field(
            ("funding", "open_interest", "premium", "fear_greed", "macro"),
            description="Sources that are read; features that need another one are not in the set.",
        )
    )
    derivatives_venue: str = Field(
        "binanceusdm",
        description="ccxt exchange id of the perpetuals whose funding, open interest and premium belong to the traded pairs.",
    )
    base_url: str | None = Field(
        None,
        description="Another host that speaks the APIs of all publishers and of derivatives_venue; null means exchange.base_url, and where that is null too each one's own.",
    )
    fear_greed_url: str = Field(
        "https://api.alternative.me", description="Host of the Fear & Greed index."
    )
    macro_url: str = Field(
        "https://query1.finance.yahoo.com",
        description="Host of the daily closes of VIX and dollar index, Yahoo's chart API.",
    )
    max_attempts: int = Field(
        2, ge=1, description="Attempts at one request before the hour goes on without its answer."
    )
    open_interest_lag_minutes: float = Field(
        5.0,
        ge=0,
        description="From the instant of an open interest to when it is known. Lags hold for rows fetched from now on.",
    )
    fear_greed_lag_hours: float = Field(
        1.0, ge=0, description="From the beginning of the index's date (UTC) to when it is known."
    )
    macro_lag_hours: float = Field(
        30.0,
        ge=24,
        description="From the beginning of a close's date (UTC) to when it is known; at least a day.",
    )
    funding_stale_hours: float = Field(
        24.0, gt=0, description="Age up to which a payment of funding counts; then it is null."
    )
    open_interest_stale_hours: float = Field(
        6.0, gt=0, description="Age up to which an open interest counts."
    )
    premium_stale_hours: float = Field(6.0, gt=0, description="Age up to which a premium counts.")
    fear_greed_stale_hours: float = Field(
        72.0, gt=0, description="Age up to which a Fear & Greed index counts."
    )
    macro_stale_hours: float = Field(
        120.0, gt=0, description="Age up to which a daily close counts: a long weekend."
    )


class ExtraMarket(_Section):
    """A market that is ingested and checked but not traded."""

    venue: str = Field(description="ccxt exchange id.")
    timeframe: str = Field("1h", description="1m, 5m, 15m, 1h, 4h or 1d.")
    symbols: tuple[str, ...] = Field(description="ccxt unified symbols.")


class LakeConfig(_Section):
    """Where the Parquet lake is."""

    uri: str | None = Field(None, description="Folder or s3:// address; null means <home>/lake.")
    storage_options: dict[str, str] = Field(
        default_factory=dict,
        description="Options of the object store, e.g. AWS_ENDPOINT_URL; secrets belong in the environment.",
    )
    retention_days: float = Field(30.0, ge=0, description="How far time travel reaches back.")


class MlflowConfig(_Section):
    """Where runs and models are."""

    tracking_uri: str | None = Field(
        None,
        description="MLflow server; null means the database itself, which the server of `hourglass up` shows.",
    )
    artifact_uri: str | None = Field(
        None, description="Folder or s3:// address of artifacts; null means <home>/artifacts."
    )
    experiment: str = Field("hourglass", description="Experiment of the training runs.")
    registered_model: str = Field("hourglass", description="Name in the model registry.")


class BooksConfig(_Section):
    """The paper books."""

    initial_cash: float = Field(
        100_000.0, gt=0, description="Capital of every book, quote currency."
    )
    baselines: tuple[Literal["buy_and_hold", "ema_crossover"], ...] = Field(
        ("buy_and_hold", "ema_crossover"), description="Strategies that trade beside the models."
    )
    max_challengers: int = Field(
        5, ge=0, description="Challengers that have a book of their own at once."
    )
    challenger_days: float = Field(
        90.0,
        ge=0,
        description="Days for which a challenger keeps its book, unless it has shown to be worse: evidence takes months. A new model that finds no place is a shadow.",
    )
    max_shadows: int = Field(
        5,
        ge=0,
        description="Newest models without a book that are scored, and compared by their losses.",
    )


class FeaturesConfig(_Section):
    """Which features make the set."""

    families: tuple[str, ...] = Field((), description="Families of features/; empty means all.")


class StackConfig(_Section):
    """Ports and size of the local stack of `hourglass up`."""

    host: str = Field("127.0.0.1", description="Address the user interfaces listen on.")
    airflow_port: int = Field(8080, ge=1, le=65535, description="Airflow UI and API.")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="MLflow UI and API.")
    executor: Literal["LocalExecutor", "CeleryExecutor"] = Field(
        "LocalExecutor", description="Airflow executor; CeleryExecutor needs broker_url."
    )
    broker_url: str | None = Field(
        None, description="Celery broker, e.g. redis://127.0.0.1:6379/0."
    )
    parallelism: int = Field(4, ge=1, description="Airflow tasks at once.")
    parallel_windows: int = Field(
        2,
        ge=1,
        description="Test windows of a training that Airflow fits at once, each with training.threads; the rest of parallelism is free for the hour.",
    )
    sla_minutes: float = Field(
        10.0, gt=0, description="The hourly chain must be done this long after the hour."
    )
    daily_sla_minutes: float = Field(
        120.0,
        gt=0,
        description="The daily round must be done this long after it was due; in mode approve a person has promotion.approval_hours more.",
    )
    scheduled: bool = Field(
        True,
        description="Airflow runs the DAGs on their schedules; false means only when they are triggered.",
    )


class Settings(_Section):
    """All settings of one run, resolved."""

    home: Path = Field(
        Path("~/.hourglass"), description="All state: lake, database, artifacts, logs."
    )
    database_url: str | None = Field(
        None,
        description="Any PostgreSQL server, e.g. postgresql://user@host:5432/postgres; null means the embedded one under home.",
    )
    venue: str = Field("binance", description="ccxt exchange id of the traded market.")
    timeframe: str = Field("1h", description="Bar that is traded: 1m, 5m, 15m, 1h, 4h or 1d.")
    universe: tuple[str, ...] = Field(
        (
            "BTC/USDT",
            "ETH/USDT",
            "SOL/USDT",
            "XRP/USDT",
            "ADA/USDT",
            "BNB/USDT",
            "DOGE/USDT",
            "AVAX/USDT",
            "LINK/USDT",
            "LTC/USDT",
        ),
        min_length=1,
        description="Traded symbols, ccxt unified.",
    )
    extra_markets: tuple[ExtraMarket, ...] = Field(
        (), description="Markets that are ingested and checked beside the traded one."
    )
    exchange: ExchangeConfig = ExchangeConfig()
    ingest: IngestConfig = IngestConfig()
    sources: SourcesConfig = SourcesConfig()
    lake: LakeConfig = LakeConfig()
    features: FeaturesConfig = FeaturesConfig()
    training: TrainingConfig = TrainingConfig()
    mlflow: MlflowConfig = MlflowConfig()
    books: BooksConfig = BooksConfig()
    costs: CostConfig = CostConfig()
    risk: RiskConfig = RiskConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    drift: DriftConfig = DriftConfig()
    promotion: PromotionConfig = PromotionConfig()
    stack: StackConfig = StackConfig()

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, timeframe: str) -> str:
        if timeframe not in TIMEFRAMES:
            raise ValueError(f"use one of {', '.join(TIMEFRAMES)}")
        return timeframe

    @field_validator("universe")
    @classmethod
    def _linear_perpetuals(cls, universe: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in universe:
            if ":" in symbol and not is_linear_perpetual(symbol):
                raise ValueError(
                    f"{symbol} is not a perpetual settled in its quote currency; write contracts as "
                    "BTC/USDT:USDT (dated and inverse ones are not traded)"
                )
        return universe

    @property
    def lake_uri(self) -> str:
        """The lake's resolved address."""
        return self.lake.uri or str(self.home / "lake")

    @property
    def artifact_uri(self) -> str:
        """The resolved address of MLflow artifacts."""
        return self.mlflow.artifact_uri or str(self.home / "artifacts")


class ResolvedSettings(BaseModel):
    """Settings with the origin of every key ("default", the YAML's path, the variable, "command line")."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    origins: dict[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a key: key, value, origin; passwords are starred."""
        values = self.settings.model_dump(mode="json")
        return [
            {"key": key, "value": _hide_secret(key, _pick(values, key)), "origin": origin}
            for key, origin in self.origins.items()
        ]


def load_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Return the settings: defaults < YAML < environment < `overrides` (dotted keys)."""
    return resolve_settings(overrides, environ=environ, config=config).settings


def resolve_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> ResolvedSettings:
    """Resolve the settings and say where each key comes from.

    Parameters
    ----------
    overrides : mapping, optional
        Dotted keys to values, e.g. ``{"home": "/tmp/h", "stack.mlflow_port": 5001}``.
    environ : mapping, optional
        The environment; the process's own by default.
    config : Path, optional
        A YAML file; by default `HOURGLASS_CONFIG`, else `<home>/hourglass.yaml`, else the one that
        is shipped.

    Raises
    ------
    ConfigError
        On an unknown key (with the nearest known name), a wrong type, or an unreadable file.
    """
    environ = os.environ if environ is None else environ
    overrides = {k: v for k, v in (overrides or {}).items() if v is not None}
    from_environment = dict(_from_environment(environ))
    home = overrides.get("home") or from_environment.get("home", (None, ""))[0] or "~/.hourglass"
    path = _find_yaml(config, environ, Path(home).expanduser())

    values: dict[str, tuple[Any, str]] = {}
    if path is not None:
        values.update({key: (value, str(path)) for key, value in _read_yaml(path)})
    values.update(from_environment)
    for key, value in overrides.items():
        values[key] = (_parse(value) if isinstance(value, str) else value, "command line")
    for key, (_, origin) in values.items():
        _refuse_unknown(key, origin)

    tree: dict[str, Any] = {}
    for key, (value, _) in values.items():
        _plant(tree, key.split("."), value)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, values) from None
    origins = dict.fromkeys(known_keys(), "default")
    origins.update({key: origin for key, (_, origin) in values.items()})
    return ResolvedSettings(settings=settings, origins=origins)


def known_keys() -> list[str]:
    """Return every dotted key of the settings tree, in order."""
    return list(_leaves(Settings))


def read_config(path: Path) -> dict[str, Any]:
    """Return the values of a YAML file by dotted key.

    Raises
    ------
    ConfigError
        If the file does not exist or is not such a mapping, or a key is not known.
    """
    if not path.is_file():
        raise ConfigError(f"configuration file {path} does not exist", remedy="check --config")
    values = dict(_read_yaml(path))
    for key in values:
        _refuse_unknown(key, str(path))
    return values


def nearest_key(key: str, known: Sequence[str]) -> str:
    """Return the one of the known keys that is spelled most like `key`, or has its last word."""
    same_end = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    return difflib.get_close_matches(key, same_end or known, n=1, cutoff=0.0)[0]


def _pick(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for name in key.split("."):
        value = value[name]
    return value


def _hide_secret(key: str, value: Any) -> Any:
    if isinstance(value, str) and key.endswith("url"):
        return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", value)
    if key == "lake.storage_options":
        return dict.fromkeys(value, "***")
    return value


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[Any, str]]]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in _NOT_KEYS:
            continue
        key = variable.removeprefix(PREFIX).lower().replace("__", ".")
        text = environ[variable]
        yield key, (_parse(text), f"${variable}")


def _parse(text: str) -> Any:
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return None if text == "null" else text


def _find_yaml(config: Path | None, environ: Mapping[str, str], home: Path) -> Path | None:
    chosen = config or (
        Path(environ["HOURGLASS_CONFIG"]) if environ.get("HOURGLASS_CONFIG") else None
    )
    if chosen is not None:
        if not chosen.is_file():
            raise ConfigError(
                f"configuration file {chosen} does not exist",
                remedy="check --config or HOURGLASS_CONFIG",
            )
        return chosen
    return next((p for p in (home / "hourglass.yaml", SHIPPED_YAML) if p.is_file()), None)


def _read_yaml(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise ConfigError(
            f"{path} is not YAML: {told}", remedy="mend the file at that line"
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path} is not a mapping of keys", remedy="start from config/hourglass.yaml"
        )
    known = set(known_keys())
    yield from _flatten(tree, "", known)


def _flatten(tree: Mapping[str, Any], prefix: str, known: set[str]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in known:
            yield from _flatten(value, f"{key}.", known)
        elif value is not None or key not in known:
            yield key, value


def _refuse_unknown(key: str, origin: str) -> None:
    known = known_keys()
    if key in known or any(
        key.startswith(f"{k}.") for k in known if k.endswith(("_options", "_params"))
    ):
        return
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "`hourglass config` lists the known keys"
    raise ConfigError(f"setting {key!r} ({origin}) is not known", remedy=hint)


def _plant(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _explain(error: ValidationError, values: Mapping[str, tuple[Any, str]]) -> ConfigError:
    lines, problems = [], error.errors()
    for problem in problems:
        key = ".".join(str(part) for part in problem["loc"])
        origin = next(
            (o for k, (_, o) in values.items() if key == k or key.startswith(f"{k}.")), "default"
        )
        asked = _ASKED.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
        lines.append(f"{key} = {problem['input']!r} ({origin}): {asked}")
    a_list = any(problem["type"] == "tuple_type" for problem in problems)
    remedy = 'write a list as JSON, e.g. \'["BTC/USDT", "ETH/USDT"]\'' if a_list else _SEE_CONFIG
    return ConfigError("; ".join(lines), remedy=remedy)


_ASKED = {"tuple_type": "not a list"}
_SEE_CONFIG = (
    "`hourglass config` shows every key as it stands; config/hourglass.yaml says what it means"
)
