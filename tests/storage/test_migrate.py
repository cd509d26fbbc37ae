"""Migrations bring any database to the schema of `tables`, one process at a time."""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, select, text

from bridge.errors import Unavailable
from bridge.storage import migrate
from bridge.storage.database import Database
from bridge.storage.schema import metadata
from tests.conftest import KINDS, MakeDatabase
from tests.support.inside import migrate_to


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[Database]:
    """A database without any table, once of each kind."""
    with (
        make_database(request.param, migrated=False) as url,
        contextlib.closing(Database(url)) as database,
    ):
        yield database


def difference(database: Database) -> list[Any]:
    """What alembic would have to change to make the tables those of this release."""
    with database.engine.connect() as connection:
        # Defaults are the server's only while the release before is still running.
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def revisions() -> list[str]:
    """The releases' schemas, the first one first."""
    scripts = ScriptDirectory.from_config(migrate.make_config()).walk_revisions()
    return [script.revision for script in reversed(list(scripts))]


def test_the_scripts_are_one_line_without_branches() -> None:
    scripts = ScriptDirectory.from_config(migrate.make_config())
    assert len(scripts.get_heads()) == 1
    assert revisions() == sorted(revisions())
    assert len(revisions()) == len(list((migrate.FOLDER / "versions").glob("*.py")))


def test_migrations_make_the_very_tables_that_the_bridge_uses(empty: Database) -> None:
    migrate.upgrade(empty)
    assert difference(empty) == []
    with empty.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
    assert there == {*metadata.tables, "alembic_version"}


def test_indexes_are_what_the_tables_say(empty: Database) -> None:
    migrate.upgrade(empty)
    with empty.engine.connect() as connection:
        for table in metadata.sorted_tables:
            there = inspect(connection).get_indexes(table.name)
            found = {one["name"]: one["column_names"] for one in there if "duplicates_constraint" not in one}
            wanted = {one.name: [column.name for column in one.columns] for one in table.indexes}
            assert found == wanted


def test_migrating_again_changes_nothing(empty: Database) -> None:
    for _ in range(2):
        migrate.upgrade(empty)
        assert migrate.problem(empty) is None


def test_every_release_s_database_can_be_brought_up_to_date(empty: Database) -> None:
    for revision in revisions():
        migrate_to(empty, revision)
    assert difference(empty) == []


def test_what_a_migration_added_can_be_taken_away_until_cases_got_their_own_shape(empty: Database) -> None:
    migrate_to(empty, "0007")
    migrate_to(empty, "base", down=True)
    with empty.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    migrate.upgrade(empty)
    assert difference(empty) == []


def test_what_stood_before_a_colon_has_a_column_of_its_own(empty: Database) -> None:
    migrate_to(empty, "0007")
    memos = (
        "told:paused:alpha",
        "used:session:one",
        "used:install:two",
        "recovered:",
        "worker:a:1",
        "retention",
    )
    with empty.begin() as connection:
        for name in memos:
            connection.execute(text("INSERT INTO memos VALUES (:name, '{}', 7.5)"), {"name": name})
        columns = [column["name"] for column in inspect(connection).get_columns("cases")]
        given: dict[str, Any] = dict.fromkeys(columns, "{}") | {"id": "c_1", "store": "alpha"}
        given |= dict.fromkeys(("opened_at", "deadline_at", "lease_until", "fence", "tries", "lapses"), 0)
        given |= dict.fromkeys(("dispute_id", "transaction_id", "duplicate_of", "due_at"))
        given |= {"left_out": "[]"}
        values = ", ".join(f":{name}" for name in given)
        connection.execute(text(f"INSERT INTO cases ({', '.join(given)}) VALUES ({values})"), given)  # noqa: S608
        call = "INSERT INTO attempts (id, case_id, store, method, path, outcome, started_at)"
        for ident, store in (("a_1", "alpha"), ("a_2", "provider:ethoca")):
            made = text(f"{call} VALUES (:id, 'c_1', :store, 'GET', '/', 'ok', 0)")
            connection.execute(made, {"id": ident, "store": store})
    migrate.upgrade(empty)
    with empty.read() as connection:
        kept = connection.execute(text("SELECT kind, name FROM memos WHERE at = 7.5")).all()
        calls = connection.execute(text("SELECT store, provider FROM attempts ORDER BY id")).all()
    assert set(map(tuple, kept)) == {
        ("told", "paused:alpha"),
        ("session", "one"),
        ("install", "two"),
        ("recovered", ""),
        ("worker", "a:1"),
        ("retention", ""),
    }
    assert list(map(tuple, calls)) == [("alpha", None), ("alpha", "ethoca")]


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = revisions()[0]
    migrate_to(empty, first)
    before = difference(empty)
    upgrade = command.upgrade

    def broken(*words: Any) -> None:
        upgrade(*words)
        raise ZeroDivisionError

    monkeypatch.setattr(command, "upgrade", broken)
    with pytest.raises(ZeroDivisionError):
        migrate.upgrade(empty)
    monkeypatch.undo()
    assert f"has the schema {first}" in str(migrate.problem(empty))
    assert repr(difference(empty)) == repr(before)
    migrate.upgrade(empty)
    assert difference(empty) == []


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_migrate_at_the_same_time_wait_for_each_other(
    kind: str, make_database: MakeDatabase
) -> None:
    together = threading.Barrier(4)

    def run(url: str) -> str | None:
        with contextlib.closing(Database(url)) as database:
            together.wait(10)
            migrate.upgrade(database)
            return migrate.problem(database)

    with make_database(kind, migrated=False) as url:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(run, [url] * 4)) == [None] * 4
        with contextlib.closing(Database(url)) as database:
            assert difference(database) == []


def test_what_is_not_up_to_date_is_said_with_its_remedy(empty: Database) -> None:
    newest = revisions()[-1]
    assert migrate.problem(empty) == "The database has no tables yet: run `bridge migrate`."
    migrate_to(empty, revisions()[0])
    said = f"has the schema {revisions()[0]}, this release needs {newest}: run `bridge migrate`."
    assert migrate.problem(empty) == f"The database {said}"
    migrate.upgrade(empty)
    assert migrate.problem(empty) is None


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with contextlib.closing(Database("sqlite:////nowhere/at/all/bridge.db")) as database:
        with pytest.raises(Unavailable, match="unable to open"):
            migrate.problem(database)
        with pytest.raises(Unavailable, match="unable to open"):
            migrate.upgrade(database)


def test_a_database_that_takes_no_writes_is_unavailable(make_database: MakeDatabase) -> None:
    with make_database("postgres") as url, contextlib.closing(Database(url)) as database:
        name = database.engine.url.database
        database.write(
            lambda c: c.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        )
        database.engine.dispose()
        with pytest.raises(Unavailable, match="read-only"):
            migrate.problem(database)


def test_a_process_whose_tables_are_missing_or_old_is_told_to_migrate(empty: Database) -> None:
    wanted = select(metadata.tables["cases"].c.goal)  # since 0008
    for _ in range(2):
        with pytest.raises(Unavailable, match="run `bridge migrate`"), empty.read() as connection:
            connection.execute(wanted)
        migrate_to(empty, "0007")


def test_another_name_that_is_not_there_is_no_matter_of_migrating(make_database: MakeDatabase) -> None:
    with make_database("postgres") as url:
        away = make_url(url).set(database="nowhere").render_as_string(hide_password=False)
        with contextlib.closing(Database(away)) as database, pytest.raises(Unavailable) as caught:
            migrate.problem(database)
    assert 'database "nowhere" does not exist' in str(caught.value)
    assert "migrate" not in str(caught.value)


def test_a_disk_that_takes_no_more_makes_the_database_unavailable(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, contextlib.closing(Database(url)) as database:
        assert migrate.problem(database) is None
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no file may grow
        try:
            with pytest.raises(Unavailable, match=r"full|disk"):
                migrate.problem(database)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert migrate.problem(database) is None
