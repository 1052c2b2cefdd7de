"""When a replay runs what: every hour the chain, at midnight the lake, a training that is due, the judgement."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import replay as replay_module
from pipelines.errors import ConfigError
from pipelines.replay import replay, run_hour, run_hour_and_day
from pipelines.steps import DAILY_CHAIN, HOURLY_CHAIN

# 2024-01-04 is day 19,726 since 1970: a multiple of 7.
THURSDAY = datetime(2024, 1, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, datetime]]:
    """What was run, in order, instead of running it."""
    done: list[tuple[str, datetime]] = []

    def step_of(name: str) -> Any:
        def run(_: Any, as_of: datetime, *__: Any) -> Any:
            done.append((name, as_of))
            return SimpleNamespace(changed=True)

        return run

    def module_of(path: str) -> Any:
        name = path.rpartition(".")[2]
        return SimpleNamespace(**{name: step_of(name)})

    monkeypatch.setattr(replay_module, "import_module", module_of)
    monkeypatch.setattr(replay_module, "maintain_lake", step_of("maintain_lake"))
    monkeypatch.setattr(replay_module, "train", step_of("train"))
    return done


def names(ran: list[tuple[str, datetime]], at: datetime) -> tuple[str, ...]:
    return tuple(name for name, as_of in ran if as_of == at)


def test_an_hour_is_the_chain_and_midnight_also_maintains_the_lake(ran: Any) -> None:
    run_hour(None, THURSDAY - HOUR)  # type: ignore[arg-type]
    run_hour(None, THURSDAY)  # type: ignore[arg-type]
    assert names(ran, THURSDAY - HOUR) == HOURLY_CHAIN
    assert names(ran, THURSDAY) == (*HOURLY_CHAIN, "maintain_lake")


def test_a_day_is_judged_after_a_training_where_one_is_due(ran: Any) -> None:
    run = run_hour_and_day(retrain_every_days=7)
    for as_of in (THURSDAY + HOUR, THURSDAY, THURSDAY + DAY):
        assert run(None, as_of)  # type: ignore[arg-type]
    hour = (*HOURLY_CHAIN, "maintain_lake")
    assert names(ran, THURSDAY + HOUR) == HOURLY_CHAIN
    assert names(ran, THURSDAY) == (*hour, "train", *DAILY_CHAIN)
    assert names(ran, THURSDAY + DAY) == (*hour, *DAILY_CHAIN)


def test_a_replay_walks_the_hours_after_its_start_in_order(ran: Any) -> None:
    context: Any = SimpleNamespace(settings=SimpleNamespace(timeframe="1h"))
    report = replay(context, THURSDAY - 3 * HOUR, THURSDAY)
    walked = [as_of for name, as_of in ran if name == "trade_paper"]
    assert walked == [THURSDAY - 2 * HOUR, THURSDAY - HOUR, THURSDAY]
    assert (report.detail["hours"], report.detail["hours_changed"]) == (3, 3)
    with pytest.raises(ConfigError, match="is empty"):
        replay(context, THURSDAY, THURSDAY)
