"""The configurations a backtest is run under: settings as they stand, YAML files, swept keys."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.errors import ConfigError
from pipelines.settings import Settings, nearest_key, read_config
from serving.config import CostConfig, RiskConfig

CAPITAL = "books.initial_cash"
MOST_VARIANTS = 20_000
AS_CONFIGURED = "as configured"

Section = TypeVar("Section", bound=BaseModel)


@dataclass(frozen=True)
class Variant:
    """One configuration: what differs from the settings, and what the engine is given."""

    name: str
    overrides: Mapping[str, Any]
    costs: CostConfig
    risk: RiskConfig
    initial_cash: float

    def as_json(self) -> dict[str, Any]:
        """Return everything the engine is given, as JSON types."""
        return {
            "costs": self.costs.model_dump(mode="json"),
            "risk": self.risk.model_dump(mode="json"),
            "initial_cash": self.initial_cash,
        }


def build_variants(
    settings: Settings,
    *,
    files: Sequence[Path] = (),
    sweeps: Sequence[str] = (),
    capital: float | None = None,
) -> list[Variant]:
    """Return every file's configuration (by default the settings') times the product of the sweeps.

    Parameters
    ----------
    settings : Settings
    files : sequence of Path
        YAML in the form of config/hourglass.yaml; a key it leaves out is as in `settings`.
    sweeps : sequence of str
        ``KEY=V1,V2,...`` of `costs.*`, `risk.*` or `books.initial_cash`; the last varies fastest.
    capital : float, optional
        Replaces `books.initial_cash`.

    Raises
    ------
    ConfigError
        If a key is not known (with the nearest one) or does not shape a backtest, a value is not
        accepted, a key is swept twice, or the product is beyond `MOST_VARIANTS`.
    """
    standing = Variant(
        AS_CONFIGURED, {}, settings.costs, settings.risk, settings.books.initial_cash
    )
    if capital is not None:
        standing = replace(_changed(standing, {CAPITAL: capital}, "--capital"), overrides={})
    bases = [_from_file(standing, settings, path, files) for path in files] or [standing]
    axes = [_axis(sweep) for sweep in sweeps]
    keys = [key for key, _ in axes]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigError(
            f"--sweep names {twice} twice", remedy="give all its values in one --sweep KEY=V1,V2"
        )
    _check_count(len(bases), axes)
    points = [
        dict(zip(keys, point, strict=True)) for point in itertools.product(*(v for _, v in axes))
    ]
    return [_changed(base, point, "--sweep") for base in bases for point in points]


def _check_count(bases: int, axes: Sequence[tuple[str, list[str]]]) -> None:
    count = bases
    for _, values in axes:
        count *= len(values)
    if count > MOST_VARIANTS:
        raise ConfigError(
            f"{count:,} configurations; the bound is {MOST_VARIANTS:,}",
            remedy="sweep fewer keys or values at once",
        )


def _axis(sweep: str) -> tuple[str, list[str]]:
    key, equals, text = sweep.partition("=")
    key, values = key.strip(), [value.strip() for value in text.split(",")]
    if not equals or not all(values):
        raise ConfigError(
            f"--sweep {sweep!r} has no values", remedy="write it as --sweep KEY=V1,V2,..."
        )
    if not shapes_a_backtest(key):
        raise ConfigError(
            f"--sweep: {key!r} is not a key of costs, risk or books.initial_cash",
            remedy=f"did you mean {nearest_key(key, shaping_keys())!r}?",
        )
    return key, values


def _from_file(standing: Variant, settings: Settings, path: Path, files: Sequence[Path]) -> Variant:
    values = read_config(path)
    chosen = {key: value for key, value in values.items() if shapes_a_backtest(key)}
    tree = settings.model_dump(mode="json")
    for key, value in values.items():
        if key not in chosen and _plain(value) != _plain(_pick(tree, key)):
            raise ConfigError(
                f"{path} sets {key} to {value!r}, the settings say {_pick(tree, key)!r}: "
                "it does not shape a backtest",
                remedy="leave it out; a file may change costs, risk and books.initial_cash",
            )
    alone = [other.stem for other in files].count(path.stem) == 1
    name = path.stem if alone else str(path)
    return replace(_changed(standing, chosen, str(path)), name=name)


def _changed(variant: Variant, values: Mapping[str, Any], origin: str) -> Variant:
    if not values:
        return variant
    sections: dict[str, dict[str, Any]] = {"costs": {}, "risk": {}, "books": {}}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    words = [f"{key}={value}" for key, value in values.items()]
    return Variant(
        name=" ".join([*([] if variant.name == AS_CONFIGURED else [variant.name]), *words]),
        overrides={**variant.overrides, **values},
        costs=_validated(variant.costs, sections["costs"], "costs", origin),
        risk=_validated(variant.risk, sections["risk"], "risk", origin),
        initial_cash=_cash(sections["books"].get("initial_cash", variant.initial_cash), origin),
    )


def _validated(standing: Section, values: Mapping[str, Any], section: str, origin: str) -> Section:
    if not values:
        return standing
    try:
        return type(standing).model_validate({**standing.model_dump(), **values})
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join((section, *(str(part) for part in problem["loc"])))
        raise ConfigError(
            f"{key} = {problem['input']!r} ({origin}): {problem['msg']}",
            remedy="config/hourglass.yaml says what each key means",
        ) from None


def _cash(value: Any, origin: str) -> float:
    try:
        cash = float(value)
    except (TypeError, ValueError):
        cash = 0.0
    if not 0.0 < cash < float("inf"):
        raise ConfigError(
            f"{CAPITAL} = {value!r} ({origin}): not a positive number",
            remedy="give the capital in quote currency, e.g. 100000",
        )
    return cash


def shapes_a_backtest(key: str) -> bool:
    """Say whether the engine's outcome depends on a settings key that may differ by configuration."""
    return key in shaping_keys()


def shaping_keys() -> list[str]:
    """Return the keys that a configuration may change."""
    costs = [f"costs.{name}" for name in CostConfig.model_fields]
    return [*costs, *(f"risk.{name}" for name in RiskConfig.model_fields), CAPITAL]


def _pick(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for name in key.split("."):
        value = value[name] if isinstance(value, Mapping) and name in value else None
    return value


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
