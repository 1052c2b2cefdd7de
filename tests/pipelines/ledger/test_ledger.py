"""The ledger by itself: append-only, chained, balanced; books, promotions, migrations."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.database import open_databases
from pipelines.errors import ContractViolation, SourceUnavailable
from pipelines.ledger import Book, Ledger
from pipelines.ledger.audit import canonical
from pipelines.ledger.rows import assets_of, id_of, rows_of
from pipelines.ledger.schema import HEAD, metadata
from pipelines.settings import Settings
from serving.state import new_state

HOUR = timedelta(hours=1)
START = datetime(2024, 6, 1, tzinfo=UTC)
OPENING = {"initial_cash": 100_000.0, "reason": "registered", "decided_by": "register"}


def test_a_traded_ledger_verifies_and_its_status_adds_up(ledger: Ledger, lively: Any) -> None:
    book = lively.open_model(ledger)
    ledger.promote(
        "1", effective_from=START + HOUR, kind="first", reason="first model", decided_by="train"
    )
    lively.trade(ledger, book, 1, 12)
    assert ledger.verify() == []
    assert ledger.last_traded_at() == START + 12 * HOUR
    status = ledger.status(START + 12 * HOUR)
    assert status["ledger"] == {"balanced": True, "audit_chain": True}
    assert status["champion"] == {"version": "1", "since": "2024-06-01T01:00Z"}
    (mine,) = status["books"]
    assert (mine["book"], mine["role"], mine["model_version"]) == ("model-1", "champion", "1")
    assert mine["fills"] > 0
    for position in mine["positions"]:
        assert set(position) == {"symbol", "quantity", "entry", "stop"}


def test_status_is_what_it_was_at_that_instant(ledger: Ledger, lively: Any) -> None:
    book = lively.open_model(ledger)
    ledger.promote(
        "1", effective_from=START + HOUR, kind="first", reason="first", decided_by="train"
    )
    early = ledger.status(START)
    assert early["champion"] is None
    assert early["books"][0] == {
        "book": "model-1", "role": "challenger", "model_version": "1", "mode": "run",
        "halted": False, "equity": 100_000.0, "cash": 100_000.0, "orders": 0, "fills": 0, "positions": [],
    }  # fmt: skip
    lively.trade(ledger, book, 1, 3)
    then = ledger.status(START + 3 * HOUR)
    lively.trade(ledger, book, 4, 6)
    assert ledger.status(START + 3 * HOUR) == then


def test_every_table_refuses_update_delete_and_truncate(ledger: Ledger, execute: Any) -> None:
    for name, table in metadata.tables.items():
        column = next(iter(table.columns)).name
        for statement in (
            f"UPDATE {name} SET {column} = {column}",
            f"DELETE FROM {name}",
            f"TRUNCATE {name} CASCADE",
        ):
            with pytest.raises(sa.exc.IntegrityError, match="append-only"):
                execute(statement)


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE audit SET payload = payload || '{\"x\": 1}' WHERE sequence = 2", "was changed after"),
        ("DELETE FROM audit WHERE sequence = 3", "rows are missing"),
        ("UPDATE fills SET price = price * 1.0000001", "are not those that were traded"),
        ("UPDATE postings SET amount = amount + 0.00000001 WHERE account = 'fees'", "does not balance"),
        ("UPDATE equity SET cash = cash + 1, equity = equity + 1", "postings say"),
        ("UPDATE fills SET quantity = quantity * 2", "is not what was posted"),
        ("DELETE FROM signals WHERE symbol = 'BTC/USDT'", "are not those that were traded"),
        ("UPDATE risk_events SET allowed = 9", "are not those that were traded"),
    ],
)  # fmt: skip
def test_tampering_behind_the_triggers_shows(
    tampering: str, finding: str, ledger: Ledger, lively: Any, execute: Any
) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 6)
    execute(tampering, as_owner=True)
    assert any(finding in found for found in ledger.verify())


def test_a_rewritten_audit_row_does_not_continue_the_chain(
    ledger: Ledger, lively: Any, execute: Any
) -> None:
    lively.trade(ledger, lively.open_model(ledger), 1, 3)
    execute("UPDATE audit SET hash = repeat('ab', 32) WHERE sequence = 2", as_owner=True)
    findings = ledger.verify()
    assert any("does not continue the row before it" in found for found in findings)
    assert not ledger.status(START + 3 * HOUR)["ledger"]["audit_chain"]


def test_opening_a_book_twice_is_opening_it_once(ledger: Ledger, lively: Any) -> None:
    assert lively.open_model(ledger) == lively.open_model(ledger)
    assert len(ledger.books()) == 1
    with pytest.raises(ContractViolation, match="was opened as"):
        lively.open_model(ledger, opened_at=START + HOUR)
    with pytest.raises(ContractViolation, match="only a model has a version"):
        ledger.open_book("x", strategy="model", opened_at=START, **OPENING)
    with pytest.raises(ContractViolation, match="strategies are"):
        ledger.open_book("x", strategy="magic", opened_at=START, **OPENING)


def test_a_book_is_live_after_its_opening_and_up_to_its_retirement(
    ledger: Ledger, lively: Any
) -> None:
    lively.open_model(ledger)
    assert ledger.live_books(START) == []
    assert [b.name for b in ledger.live_books(START + HOUR)] == ["model-1"]
    ledger.retire_book("model-1", at=START + 2 * HOUR, reason="r", decided_by="d")
    assert len(ledger.live_books(START + 2 * HOUR)) == 1
    assert ledger.live_books(START + 3 * HOUR) == []
    with pytest.raises(ContractViolation, match="does not exist"):
        ledger.retire_book("model-9", at=START, reason="r", decided_by="d")


def test_the_champion_is_the_one_of_that_time(ledger: Ledger) -> None:
    assert ledger.champion_at(START) is None
    terms = {"kind": "evidence", "reason": "better", "decided_by": "judge"}
    assert ledger.promote("1", effective_from=START, **terms)
    assert ledger.promote("2", effective_from=START + 5 * HOUR, **terms)
    assert not ledger.promote("1", effective_from=START, **terms)
    assert not ledger.promote("2", effective_from=START + 6 * HOUR, **terms)
    assert ledger.champion_at(START - HOUR) is None
    assert ledger.champion_at(START + 4 * HOUR) == "1"
    assert ledger.champion_at(START + 5 * HOUR) == "2"
    assert [p.previous for p in ledger.promotions()] == [None, "1"]
    with pytest.raises(ContractViolation, match="is not after"):
        ledger.promote("3", effective_from=START + 5 * HOUR, **terms)
    assert ledger.verify() == []


def test_of_two_who_decide_at_once_only_one_can_win(ledger: Ledger) -> None:
    ledger.promote("1", effective_from=START, kind="first", reason="first", decided_by="train")
    how: dict[str, Any] = {"kind": "evidence", "reason": "better", "decided_by": "promote_model"}
    how |= {"succeeding": "1", "evidence": {"e_value": 44.5}}
    assert ledger.promote("2", effective_from=START + HOUR, **how)
    with pytest.raises(ContractViolation, match="3 was to succeed 1, but 2 is champion"):
        ledger.promote("3", effective_from=START + 2 * HOUR, **how)
    assert not ledger.promote("2", effective_from=START + HOUR, **how)
    assert [(p.version, p.kind, p.evidence) for p in ledger.promotions()] == [
        ("1", "first", None),
        ("2", "evidence", {"e_value": 44.5}),
    ]
    assert ledger.verify() == []


def test_the_former_champion_is_the_previous_one(ledger: Ledger, lively: Any) -> None:
    for version in ("1", "2", "3"):
        lively.open_model(ledger, version)
    terms = {"kind": "evidence", "reason": "better", "decided_by": "judge"}
    ledger.promote("1", effective_from=START, **terms)
    ledger.promote("3", effective_from=START + HOUR, **terms)
    roles = {b["book"]: b["role"] for b in ledger.status(START + HOUR)["books"]}
    assert roles == {"model-1": "previous", "model-2": "challenger", "model-3": "champion"}


def test_ids_are_functions_of_their_inputs(ledger: Ledger, lively: Any) -> None:
    assert id_of("book", "x", START) == id_of("book", "x", START)
    assert id_of("book", "x", START) != id_of("book", "x", START + HOUR)
    assert lively.open_model(ledger).book_id == id_of("book", "model-1")


def test_a_contract_is_its_own_asset() -> None:
    assert assets_of("BTC/USDT") == ("BTC", "USDT")
    assert assets_of("BTC/USDT:USDT") == ("BTC/USDT:USDT", "USDT")


def test_canonical_text_is_the_same_before_and_after_the_database() -> None:
    assert canonical(Decimal("0E-8")) == "0.00000000"
    assert canonical(0.1) == "0.1"
    assert canonical(START) == canonical(START.astimezone(UTC)) == "2024-06-01T00:00:00+00:00"
    assert canonical({"b": 1, "a": None}) == '{"a":null,"b":1}'


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    hours=st.integers(1, 12),
    funding_rate=st.sampled_from([0.0, 0.0003, -0.001]),
)
def test_the_postings_of_every_entry_sum_to_zero(
    seed: int, hours: int, funding_rate: float, lively: Any
) -> None:
    book = Book(id_of("b"), "b", "model", "1", START, Decimal("100000.00000000"))
    state = new_state(2, book.initial_cash)
    balances: dict[tuple[str, str], Decimal] = {}
    for hour in range(1, hours + 1):
        rows = rows_of(lively.walk_hour(book, hour, state, seed=seed, funding_rate=funding_rate))
        entries: dict[tuple[Any, str], Decimal] = {}
        for entry, account, asset, _, _, _, amount in rows["postings"]:
            entries[entry, asset] = entries.get((entry, asset), Decimal(0)) + amount
            balances[account, asset] = balances.get((account, asset), Decimal(0)) + amount
        assert set(entries.values()) <= {Decimal(0)}
        ((_, _, equity, cash, exposure, *_),) = rows["equity"]
        assert equity == cash + exposure
        assert balances["cash", "USDT"] == cash
        assert len({row[0] for row in rows["orders"]}) == len(rows["orders"])


def test_the_migrations_end_at_the_head_the_ledger_asks_for() -> None:
    config = Config()
    config.set_main_option("script_location", "pipelines.ledger:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_migrated_database_is_the_schema_the_code_reads(ledger: Ledger, url: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    found = sa.MetaData()
    found.reflect(engine)
    for name, table in metadata.tables.items():
        real = found.tables[name]
        described = [
            [(c.name, c.nullable, c.type.compile(dialect=engine.dialect)) for c in t.columns]
            for t in (real, table)
        ]
        assert described[0] == described[1], name
        assert set(real.primary_key.columns.keys()) == set(table.primary_key.columns.keys())


def test_several_processes_can_open_an_empty_ledger_at_once(settings: Settings) -> None:
    url = open_databases(settings).ledger
    opened: list[Ledger] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            opened.append(Ledger(url))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ledger in opened:
        ledger.close()
    assert errors == []
    assert len(opened) == 3


def test_a_ledger_of_a_newer_version_is_refused(url: str, execute: Any) -> None:
    Ledger(url).close()
    execute("UPDATE alembic_version SET version_num = '9999'")
    try:
        with pytest.raises(ContractViolation, match="schema 9999"):
            Ledger(url)
    finally:
        execute(f"UPDATE alembic_version SET version_num = '{HEAD}'")


def test_a_database_that_does_not_answer_is_a_source_unavailable() -> None:
    with pytest.raises(SourceUnavailable, match="does not answer"):
        Ledger("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
