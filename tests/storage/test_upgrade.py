"""A database of every past release is migrated, and nothing is lost.

What a release said to its database is a recording (`tests.support.releases`), which is played again.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import inspect, text

from bridge import cli
from bridge.alert import Status
from bridge.storage.database import Database
from tests.conftest import KINDS, MakeDatabase
from tests.support import releases
from tests.support.clock import DAY
from tests.support.documents import ROOT
from tests.support.history import bridge_with_outlet
from tests.support.inside import migrate_to
from tests.support.releases import Recording

VERSIONS = releases.versions()
KEPT = "SELECT id, state, dispute_id, transaction_id, resolution, notes, due_at, tries FROM cases ORDER BY id"
"""What a migration leaves as it is of every case."""
LATER = 1_775_000_000.0 + 60 * DAY


@pytest.fixture(
    scope="module", params=[(version, kind) for version in VERSIONS for kind in KINDS], ids=" ".join
)
def release(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[Any]:
    """A release's recording, and a database of its schema to copy."""
    version, kind = request.param
    recording = releases.load(releases.FOLDER / version / f"{kind}.jsonl.gz")
    with make_database(kind, migrated=False) as url:
        with contextlib.closing(Database(url)) as database:
            migrate_to(database, recording.revision)
        yield recording, kind, url


@pytest.fixture
def old(release: Any, make_database: MakeDatabase) -> Iterator[Any]:
    """A release's recording, and a way to make databases of its schema."""
    recording, kind, template = release
    with contextlib.ExitStack() as stack:

        def make() -> tuple[str, Database]:
            url = stack.enter_context(make_database(kind, like=template))
            return url, stack.enter_context(contextlib.closing(Database(url)))

        yield recording, make


def migrate(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `bridge migrate` as the platform does before a deploy."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("BRIDGE_CONFIG", str(ROOT / "config" / "bridge.toml"))
    assert cli.main(["migrate"]) == 0


def shape_of(database: Database) -> dict[str, dict[str, Any]]:
    """Every table with its columns: their type, whether they take NULL, whether they have a default."""
    with database.read() as connection:
        inspector = inspect(connection)
        return {
            table: {
                column["name"]: {
                    "type": str(column["type"]),
                    "nullable": column["nullable"],
                    "filled": column["nullable"] or column["default"] is not None,
                }
                for column in inspector.get_columns(table)
            }
            for table in inspector.get_table_names()
            if table != "alembic_version"
        }


def rules(database: Database) -> dict[str, set[str]]:
    """What each table refuses: keys, unique columns, foreign keys and conditions."""
    with database.read() as connection:
        inspector = inspect(connection)
        return {
            table: {
                f"primary key {inspector.get_pk_constraint(table)['constrained_columns']}",
                *(f"unique {one['column_names']}" for one in inspector.get_unique_constraints(table)),
                *(f"unique {one['column_names']}" for one in inspector.get_indexes(table) if one["unique"]),
                *(f"foreign key {one['constrained_columns']}" for one in inspector.get_foreign_keys(table)),
                *(f"check {one['sqltext']}" for one in inspector.get_check_constraints(table)),
            }
            for table in inspector.get_table_names()
        }


def test_what_a_release_left_unfinished_is_finished_by_this_one(
    old: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording: Recording = old[0]
    url, database = old[1]()
    recording.play(database, 0)
    with database.read() as connection:
        count = connection.execute(text("SELECT count(*) FROM deliveries")).scalar_one()
        before = connection.execute(text(KEPT)).all()
    migrate(url, monkeypatch)
    with database.read() as connection:
        assert connection.execute(text(KEPT)).all() == before

    with bridge_with_outlet(url, begins=LATER) as bridge:
        search = bridge.search
        known = search.deliveries({"limit": "500"}).results
        assert len(known) == count
        assert {Status(row["status"]) for row in known} == set(Status)
        for row in known:
            assert bridge.client.get(f"/deliveries/{row['id']}").status_code == 200
            if row["case_number"]:
                found = search.deliveries({"q": row["case_number"], "limit": "500"}).results
                assert row["id"] in {one["id"] for one in found}
        for row in search.cases({"limit": "500"}).results:
            assert bridge.client.get(f"/cases/{row['id']}").status_code == 200
        for page in (
            "/",
            "/deliveries",
            "/cases",
            "/stores",
            "/providers",
            "/refused",
            "/replays",
            "/readyz",
        ):
            assert bridge.client.get(page).status_code == 200
        # what the release before had accepted and not finished is finished
        for store in bridge.settings.stores:
            bridge.inside.resume(store)
        for _ in range(20):
            bridge.work()
            bridge.clock.now += DAY
        ended = Counter(row["status"] for row in search.deliveries({"limit": "500"}).results)
        assert ended.total() == len(known)
        assert not ended["pending"]


# --- the rule by which that stays so --------------------------------------------------------------


def broken(before: Database, after: Database) -> list[str]:
    """What a release that knows the schema of before would stumble over in the schema of after."""
    old, new = shape_of(before), shape_of(after)
    refused, now_refused = rules(before), rules(after)
    found = []
    for table, columns in old.items():
        if table not in new:
            found.append(f"{table} is gone")
            continue
        for name, column in columns.items():
            if name not in new[table]:
                found.append(f"{table}.{name} is gone")
            elif new[table][name] != column:
                found.append(f"{table}.{name} was {column}, and is {new[table][name]}")
        found += [
            f"{table}.{name} is not filled by itself"
            for name, column in new[table].items()
            if name not in columns and not column["filled"]
        ]
        found += [f"{table} now has {one}" for one in now_refused[table] - refused[table]]
    return found


def test_migrations_since_the_cases_got_their_own_shape_only_add(make_database: MakeDatabase) -> None:
    with (
        make_database("sqlite", migrated=False) as one,
        make_database("sqlite") as other,
        contextlib.closing(Database(one)) as before,
        contextlib.closing(Database(other)) as after,
    ):
        migrate_to(before, "0008")
        assert broken(before, after) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DROP TABLE memos", "memos is gone"),
        ("ALTER TABLE memos RENAME TO notes", "memos is gone"),
        ("ALTER TABLE cases DROP COLUMN lapses", "cases.lapses is gone"),
        ("ALTER TABLE cases RENAME COLUMN notes TO hints", "cases.notes is gone"),
        ("ALTER TABLE stores ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'", None),
        ("ALTER TABLE stores ADD COLUMN colour TEXT", None),
        ("CREATE TABLE installs (id TEXT NOT NULL)", None),
        ("CREATE INDEX one ON cases (arn, id)", None),
        ("CREATE UNIQUE INDEX one ON cases (arn)", "cases now has unique ['arn']"),
    ],
)
def test_a_migration_that_does_more_than_add_is_found(
    make_database: MakeDatabase, statement: str, problem: str | None
) -> None:
    with (
        make_database("sqlite") as one,
        make_database("sqlite") as other,
        contextlib.closing(Database(one)) as before,
        contextlib.closing(Database(other)) as after,
    ):
        with after.begin() as connection:
            connection.execute(text("DROP INDEX ix_cases_lapses"))  # or SQLite does not drop its column
            connection.execute(text(statement))
        found = broken(before, after)
        assert [problem] == found[:1] if problem else found == []
