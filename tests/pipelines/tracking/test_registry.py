"""The registry: scorers by version, refused where their files changed, and aliases that follow the ledger."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ContractViolation
from serving.observations import Observations

REPOSITORY = Path(__file__).resolve().parents[3]


def test_a_version_loads_as_a_scorer_once_and_is_kept(trained):
    world, report = trained
    with world.open() as context:
        scorer = context.registry.load("1")
        assert context.registry.load("1") is scorer
        info = context.registry.version_info("1")
        assert (info.training_id, info.run_id) == (
            report.detail["training_id"],
            report.detail["run_id"],
        )
        assert (scorer.feature_set, scorer.train_end) == ("set-1", info.train_end)
        assert scorer.feature_names == (
            "realised_vol_72", "atr_14", "ema_gap_24_96", "btc_correlation_168", "vol_ratio_24_168"
        )  # fmt: skip
        assert [v.version for v in context.registry.versions()] == ["1"]


def test_a_version_carries_its_card_and_its_gates(trained):
    world, report = trained
    with world.open() as context:
        registry = context.registry
        version = registry.tracking.client.get_model_version(registry.name, "1")
        card = registry.tracking.read_text(report.detail["run_id"], "card.md")
        assert version.description == card
        assert "| Sharpe ratio of buy and hold&ensp; |" in card
        assert "| passed&ensp; | no_overlap&ensp; | 0&ensp; | at most 0&ensp; |" in card
        assert version.tags["gate.no_overlap"] == "passed"
        assert version.tags["gates.failed"].count("wanted") == card.count("**failed**")
        assert version.tags["role"] == "champion"
        assert registry.tracking.client.get_model_version_by_alias(
            registry.name, "champion"
        ).version


def test_an_unknown_version_is_refused(trained):
    world, _ = trained
    with world.open() as context:
        for version in ("99", "latest"):
            with pytest.raises(ContractViolation, match=f"has no version {version}"):
                context.registry.load(version)


def test_changed_and_missing_files_are_refused_and_restored_ones_are_read(trained, tmp_path):
    world, _ = trained
    with world.open() as context:
        registry = context.registry
        uri = registry.tracking.client.get_model_version_download_uri(registry.name, "1")
        booster = Path(uri) / "artifacts" / "scorer" / "booster.ubj"
        kept = shutil.copy(booster, tmp_path / "kept")
        booster.write_bytes(booster.read_bytes()[:-1])
        with pytest.raises(ContractViolation, match=r"model version 1 was refused: .*booster\.ubj"):
            registry.load("1")
        booster.unlink()
        with pytest.raises(ContractViolation, match="missing"):
            registry.load("1")
        shutil.copy(kept, booster)
        assert registry.load("1").horizon_bars == 12


def test_the_mirror_is_written_once_and_moves_with_the_ledger(trained):
    world, _ = trained
    with world.open() as context:
        registry = context.registry
        assert not registry.mirror(champion="1")
        assert registry.mirror(champion=None, challengers=["1"])
        roles = [v.tags["role"] for v in registry.versions()]
        assert roles == ["challenger"]
        assert registry.mirror(champion="1")
        assert not registry.mirror(champion="1")


def test_a_training_without_a_complete_model_is_not_registered(trained):
    world, _ = trained
    with world.open() as context:
        with pytest.raises(ContractViolation, match="has no complete model"):
            context.registry.register("0123456789abcdef", {}, "")
        assert len(context.registry.versions()) == 1


def test_no_pickle_is_among_the_files(trained):
    world, _ = trained
    names = {
        path.suffix for path in (world.settings.home / "artifacts").rglob("*") if path.is_file()
    }
    assert ".ubj" in names
    assert names <= {
        ".ubj",
        ".json",
        ".md",
        ".parquet",
        ".png",
        ".py",
        ".safetensors",
        ".sha256",
        ".txt",
        ".yaml",
        "",
    }


SERVE = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc, numpy, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
row = pandas.DataFrame([[0.01, 0.02, 0.003, 0.4, 0.1]], columns=model.metadata.signature.inputs.input_names())
print(repr(float(model.predict(row.astype("float32"))["p_up"][0])))
"""


@pytest.mark.slow
def test_mlflow_serves_the_model_from_code_alone(trained, tmp_path):
    world, _ = trained
    with world.open() as context:
        registry = context.registry
        uri = registry.tracking.client.get_model_version_download_uri(registry.name, "1")
        here = registry.load("1").score(
            Observations.alone(np.array([[0.01, 0.02, 0.003, 0.4, 0.1]], dtype=np.float32))
        )
    done = subprocess.run(
        [sys.executable, "-c", SERVE, uri],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert float(done.stdout) == float(here["p_up"][0])
