from pathlib import Path

import pytest

from pipelines.backtests.variants import AS_CONFIGURED, build_variants
from pipelines.errors import ConfigError
from pipelines.settings import Settings, load_settings

SETTINGS = load_settings({"risk.kelly_fraction": 0.3, "books.initial_cash": 50_000.0}, environ={})


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_files_and_sweeps_there_is_the_configuration_as_it_stands() -> None:
    (only,) = build_variants(SETTINGS)
    assert (only.name, only.overrides) == (AS_CONFIGURED, {})
    assert only.risk == SETTINGS.risk
    assert only.costs == SETTINGS.costs
    assert only.initial_cash == 50_000.0
    assert build_variants(SETTINGS, capital=2e6)[0].initial_cash == 2e6


def test_sweeps_are_multiplied_and_the_last_varies_fastest() -> None:
    found = build_variants(
        SETTINGS, sweeps=["risk.kelly_fraction=0.1,0.2", "costs.taker_fee_rate=0, 0.002"]
    )
    assert [(v.risk.kelly_fraction, v.costs.taker_fee_rate) for v in found] == [
        (0.1, 0.0), (0.1, 0.002), (0.2, 0.0), (0.2, 0.002)
    ]  # fmt: skip
    assert found[1].name == "risk.kelly_fraction=0.1 costs.taker_fee_rate=0.002"
    assert found[1].overrides == {"risk.kelly_fraction": "0.1", "costs.taker_fee_rate": "0.002"}
    assert {v.risk.volatility_target for v in found} == {SETTINGS.risk.volatility_target}


def test_words_and_capital_can_be_swept() -> None:
    found = build_variants(
        SETTINGS, sweeps=["costs.slippage_model=fixed,sqrt", "books.initial_cash=1e4"]
    )
    assert [v.costs.slippage_model for v in found] == ["fixed", "sqrt"]
    assert [v.initial_cash for v in found] == [1e4, 1e4]


def test_a_file_changes_what_it_names_and_each_is_swept(tmp_path: Path) -> None:
    bold = written(tmp_path, "bold.yaml", "risk:\n  kelly_fraction: 0.5\nvenue: binance\n")
    dear = written(tmp_path, "dear.yaml", "costs:\n  taker_fee_rate: 0.01\n")
    found = build_variants(SETTINGS, files=[bold, dear], sweeps=["risk.max_positions=1,2"])
    assert [v.name for v in found] == [
        "bold risk.max_positions=1", "bold risk.max_positions=2",
        "dear risk.max_positions=1", "dear risk.max_positions=2",
    ]  # fmt: skip
    assert [v.risk.kelly_fraction for v in found] == [0.5, 0.5, 0.3, 0.3]
    assert [v.costs.taker_fee_rate for v in found][2:] == [0.01, 0.01]


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    paths = [written(tmp_path, f"{n}/a.yaml", f"risk:\n  max_positions: {n}\n") for n in (1, 2)]
    assert [v.name for v in build_variants(SETTINGS, files=paths)] == [str(p) for p in paths]


@pytest.mark.parametrize(
    ("sweep", "said", "remedy"),
    [
        ("risk.kely_fraction=0.1", "'risk.kely_fraction' is not a key", "'risk.kelly_fraction'"),
        ("kelly_fraction=0.1", "'kelly_fraction' is not a key", "'risk.kelly_fraction'"),
        ("training.search.trials=3", "'training.search.trials' is not a key", "did you mean"),
        ("risk.kelly_fraction", "has no values", "KEY=V1,V2"),
        ("risk.kelly_fraction=0.1,,0.2", "has no values", "KEY=V1,V2"),
        ("risk.kelly_fraction=lots", r"kelly_fraction = 'lots' \(--sweep\)", "hourglass.yaml"),
        ("risk.kelly_fraction=7", r"kelly_fraction = '7' .*less than or equal to 1", "hourglass"),
        ("costs.slippage_model=none", "slippage_model = 'none'", "hourglass.yaml"),
        ("books.initial_cash=-5", "initial_cash = '-5' .*not a positive", "100000"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(sweep: str, said: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        build_variants(SETTINGS, sweeps=[sweep])
    assert remedy in refusal.value.remedy


def test_a_key_swept_twice_and_a_product_without_end_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"names risk\.max_positions twice"):
        build_variants(SETTINGS, sweeps=["risk.max_positions=1", "risk.max_positions=2"])
    hundred = ",".join(str(1 + n) for n in range(200))
    with pytest.raises(ConfigError, match="40,000 configurations; the bound is 20,000"):
        build_variants(
            SETTINGS, sweeps=[f"risk.max_positions={hundred}", f"risk.max_holding_bars={hundred}"]
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("risk:\n  kely_fraction: 0.1\n", r"'risk\.kely_fraction'"),
        ("venue: upbit\n", "sets venue to 'upbit', the settings say 'binance'"),
        ("risk: [1, 2\n", "is not YAML"),
        ("risk:\n  max_positions: 0\n", r"risk\.max_positions = 0"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_variants(SETTINGS, files=[written(tmp_path, "bad.yaml", text)])
    with pytest.raises(ConfigError, match=r"missing\.yaml does not exist"):
        build_variants(SETTINGS, files=[tmp_path / "missing.yaml"])


def test_capital_must_be_money() -> None:
    with pytest.raises(ConfigError, match=r"initial_cash = -1\.0 \(--capital\)"):
        build_variants(SETTINGS, capital=-1.0)


def test_what_the_engine_is_given_is_told_as_json() -> None:
    told = build_variants(Settings())[0].as_json()
    assert told["initial_cash"] == 100_000.0
    assert told["costs"]["taker_fee_rate"] == 0.001
    assert told["risk"]["kelly_fraction"] == 0.25
