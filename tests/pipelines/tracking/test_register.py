"""Registering: one version a training, one book a version, and no more challengers than are wanted."""

from datetime import UTC, datetime, timedelta

import pytest
from mlflow.tracking import MlflowClient

from pipelines.steps.train import train

HOUR = timedelta(hours=1)
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.mark.long
def test_a_later_model_is_a_challenger_or_without_a_free_place_a_shadow(world):
    with world.open(books__max_challengers=1) as context:
        for hours in (3, 2, 1):
            report = train(context, AS_OF - hours * HOUR)
        assert report.detail["champion"] == "1"
        assert (report.detail["book"], report.detail["retired_books"]) == (None, [])
        (shadow,) = context.ledger.shadows()
        assert (shadow.version, shadow.opened_at) == ("3", AS_OF - HOUR)
        assert "no place: 1 challengers keep their books for 90 days" in shadow.reason
        assert [p.version for p in context.ledger.promotions()] == ["1"]
        roles = {v.version: v.tags["role"] for v in context.registry.versions()}
        assert roles == {"1": "champion", "2": "challenger", "3": "shadow"}
        client = context.registry.tracking.client
        assert client.get_model_version_by_alias("hourglass", "champion").version == 1
        assert client.get_model_version_by_alias("hourglass", "challenger").version == 2
        live = context.ledger.live_books(AS_OF)
        assert sorted(book.name for book in live) == ["model-1", "model-2"]
        assert not train(context, AS_OF - HOUR).changed
        assert context.ledger.verify() == []


def test_what_a_kill_left_out_of_a_registration_is_added(world, monkeypatch):
    """The version stands, whole, the book does not: the next run opens it and makes no second version."""
    create = MlflowClient.create_model_version

    def killed_after_it(*given, **named):
        create(*given, **named)
        raise Killed

    with world.open() as context, monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", killed_after_it)
        with pytest.raises(Killed):
            train(context, AS_OF)
    with world.open() as context:
        registry = context.registry
        (info,) = registry.versions()
        version = registry.tracking.client.get_model_version(registry.name, "1")
        assert version.description == registry.tracking.read_text(info.run_id, "card.md")
        assert {"gate.no_overlap", "gates.failed"} <= set(info.tags)
        assert context.ledger.books() == []
        assert train(context, AS_OF).changed
        assert [v.version for v in context.registry.versions()] == ["1"]
        assert [book.name for book in context.ledger.books()] == ["model-1"]
        assert context.ledger.champion_at(AS_OF + HOUR) == "1"


@pytest.mark.long
def test_a_champion_of_a_feature_set_that_is_gone_is_succeeded_by_the_next_model(world):
    with world.open() as context:
        train(context, AS_OF - HOUR)
        context.lake.set_metadata("features", {"feature_set": "set-2"})
        report = train(context, AS_OF)
        assert report.detail["champion"] == "2"
        assert report.detail["retired_books"] == ["model-1"]
        first, second = context.ledger.promotions()
        assert (second.version, second.previous) == ("2", "1")
        assert second.effective_from == AS_OF + HOUR
        assert "feature set of version 1" in second.reason
        assert first.effective_from < second.effective_from
        assert [book.name for book in context.ledger.live_books(AS_OF + HOUR)] == ["model-2"]
        assert not train(context, AS_OF).changed
