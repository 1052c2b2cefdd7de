import itertools
from pathlib import Path

import pytest
import yaml

from pipelines.errors import ConfigError
from pipelines.settings import SHIPPED_YAML, known_keys, load_settings, resolve_settings


def test_the_shipped_yaml_states_every_default_and_comments_every_key() -> None:
    lines = SHIPPED_YAML.read_text(encoding="utf-8").splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if ":" in line
        and not line.lstrip().startswith(("#", "-"))
        and not before.lstrip().startswith("#")
    ]
    assert bare == []
    shipped = load_settings(environ={}, config=SHIPPED_YAML)
    assert shipped == load_settings(environ={}, config=_empty_yaml())
    text = SHIPPED_YAML.read_text(encoding="utf-8")
    missing = [key for key in known_keys() if f"{key.split('.')[-1]}:" not in text]
    assert missing == []


def _empty_yaml() -> Path:
    path = Path(__file__).parent / "empty.yaml"
    assert yaml.safe_load(path.read_text()) is None
    return path


def test_the_environment_beats_the_file_and_the_command_line_beats_both(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("venue: upbit\ntimeframe: 1d\nexchange: {timeout_seconds: 3}\n")
    environ = {
        "HOURGLASS_TIMEFRAME": "4h",
        "HOURGLASS_EXCHANGE__BASE_URL": "http://127.0.0.1:8070",
        "HOURGLASS_UNIVERSE": '["BTC/USDT","ETH/USDT"]',
        "HOURGLASS_STACK__MLFLOW_PORT": "5055",
        "UNRELATED": "x",
    }
    resolved = resolve_settings({"timeframe": "1h"}, environ=environ, config=config)
    settings = resolved.settings
    assert (settings.venue, settings.timeframe) == ("upbit", "1h")
    assert settings.exchange.base_url == "http://127.0.0.1:8070"
    assert settings.exchange.timeout_seconds == 3.0
    assert settings.universe == ("BTC/USDT", "ETH/USDT")
    assert settings.stack.mlflow_port == 5055
    assert resolved.origins["timeframe"] == "command line"
    assert resolved.origins["universe"] == "$HOURGLASS_UNIVERSE"
    assert resolved.origins["venue"] == str(config)
    assert resolved.origins["risk.kelly_fraction"] == "default"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HOURGLASS_UNIVERS": "[]"}, "did you mean 'universe'"),
        ({"HOURGLASS_RISK__KELY_FRACTION": "1"}, "did you mean 'risk.kelly_fraction'"),
        ({"HOURGLASS_UNIVERSE": "[]"}, "universe"),
        (
            {"HOURGLASS_RISK__KELLY_FRACTION": "much"},
            r"risk.kelly_fraction = 'much' \(\$HOURGLASS_RISK",
        ),
        ({"HOURGLASS_TIMEFRAME": "7m"}, "use one of 1m, 5m"),
        ({"HOURGLASS_CONFIG": "/nowhere.yaml"}, "does not exist"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(environ=environ)


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("exchange: {base_ulr: x}\n")
    with pytest.raises(ConfigError, match=r"exchange\.base_ulr.*did you mean 'exchange\.base_url'"):
        load_settings(environ={}, config=config)


def test_the_home_of_a_user_may_hold_the_file(tmp_path: Path) -> None:
    (tmp_path / "hourglass.yaml").write_text("venue: upbit\n")
    assert load_settings({"home": str(tmp_path)}, environ={}).venue == "upbit"


def test_secrets_are_starred_when_settings_are_shown() -> None:
    environ = {
        "HOURGLASS_DATABASE_URL": "postgresql://u:secret@h:5432/postgres",
        "HOURGLASS_LAKE__STORAGE_OPTIONS": '{"AWS_SECRET_ACCESS_KEY": "secret"}',
    }
    shown = str(resolve_settings(environ=environ).rows())
    assert "secret" not in shown
    assert "postgresql://u:***@h:5432" in shown


def test_a_contract_must_be_a_perpetual_settled_in_its_quote_currency() -> None:
    perpetuals = ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert load_settings({"universe": perpetuals}, environ={}).universe == tuple(perpetuals)
    for symbol in ("BTC/USD:BTC", "BTC/USDT:USDT-240628"):
        with pytest.raises(ConfigError, match=f"{symbol} is not a perpetual settled in its quote"):
            load_settings({"universe": ["BTC/USDT:USDT", symbol]}, environ={})
