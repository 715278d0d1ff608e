"""The SQLite file, its migrations, and which texts no database accepts."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from openai import BadRequestError, OpenAI
from openai.types import FileObject
from pydantic import SecretStr
from server_process import ServerProcess, example_lines, messages_on_record, upload
from sqlalchemy import Connection, create_engine, event, select

from retune.errors import ServerError
from retune.server.storage.database import Database, DatabaseUnavailableError
from retune.server.storage.engines import database_url, sqlite_url
from retune.server.storage.migrations import upgrade
from retune.server.storage.schema import newest_version
from retune.server.storage.tables import FileRow, Table

VERSION_1 = Path(__file__).with_name("server_version_1.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(sqlite_url(path))
    yield database
    database.close()


def write_version_1(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Table.metadata))


def test_migrations_create_the_tables_of_the_models() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection)
        assert differences(connection) == []
    engine.dispose()


def test_a_new_database_needs_no_migration(path: Path, database: Database) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(newest_version(),)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(f"{newest_version():04}",)]
    engine = create_engine(sqlite_url(path))
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_a_start_without_migrations_leaves_alembic_alone(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom retune.server.storage.database import Database\n"
        "from retune.server.storage.engines import sqlite_url\n"
        "for _ in range(2): Database(sqlite_url(Path(sys.argv[1]) / 'server.sqlite')).close()\nprint(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, check=True, text=True
    ).stdout.split()

    assert {"alembic", "psycopg"}.isdisjoint(modules)


def test_data_of_the_first_version_is_migrated(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_version_1(tmp_path / "data" / "server.sqlite")
    before = (tmp_path / "data" / "server.sqlite").read_bytes()

    server: ServerProcess = start_server()

    client = server.client()
    cancelled, succeeded = client.fine_tuning.jobs.list().data
    assert (succeeded.status, succeeded.metadata) == ("succeeded", {"made": "before"})
    assert cancelled.status == "cancelled"
    assert messages_on_record(client, succeeded.id)[-1] == "The job has successfully completed"
    assert [file.filename for file in client.files.list()] == ["train.jsonl", "step_metrics.csv", "train.jsonl"]
    assert upload(client, example_lines(10)).status == "processed"
    copy = tmp_path / "data" / "server.version-1.sqlite"
    assert list(closing_dump(copy)) == VERSION_1.read_text().replace("PRAGMA user_version=1;\n", "").splitlines()
    assert copy.read_bytes()[:16] == before[:16]


def closing_dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).splitlines()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    write_version_1(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE webhook_deliveries (mine TEXT)")
    before = closing_dump(path)

    with pytest.raises(ServerError, match="webhook_deliveries already exists"):
        Database(sqlite_url(path))

    assert closing_dump(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(1,)]


def test_tables_of_another_program_are_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (mine TEXT)")

    with pytest.raises(ServerError, match="already holds tables of another program: jobs"):
        Database(sqlite_url(path))


def test_a_worker_never_migrates(path: Path) -> None:
    write_version_1(path)

    with pytest.raises(ServerError, match="has schema version 1; this Retune needs 2"):
        Database(sqlite_url(path), owner=False)

    Database(sqlite_url(path)).close()
    further = Database(sqlite_url(path), owner=False)
    with further.read() as session:
        assert len(session.scalars(select(FileRow)).all()) == 4
    further.close()


WRITER = """
import sys
from pathlib import Path
from retune.server.storage.database import Database
from retune.server.storage.engines import sqlite_url
from retune.server.storage.tables import FileRow
from sqlalchemy import func, select
database = Database(sqlite_url(Path(sys.argv[1])), owner=False)
for number in range(30):
    with database.write() as session:
        # Read, then write: with a plain BEGIN the second process would fail at once.
        count = session.scalar(select(func.count()).select_from(FileRow))
        name = f"{sys.argv[2]}-{number}"
        session.add(FileRow(id=name, bytes=count, created_at=0, filename="", purpose=""))
"""


def test_processes_write_one_after_the_other(path: Path, database: Database) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "ab"]

    assert [writer.wait(60) for writer in writers] == [0, 0]

    with database.read() as session:
        counts = session.scalars(select(FileRow.bytes).order_by(FileRow.position)).all()
    assert counts == list(range(60))


def test_a_read_sees_one_snapshot(database: Database) -> None:
    with database.read() as session:
        assert session.scalars(select(FileRow)).all() == []
        with database.write() as other:
            other.add(FileRow(id="file", bytes=0, created_at=0, filename="", purpose=""))
        assert session.scalars(select(FileRow)).all() == []


def test_a_database_that_another_program_keeps_busy_is_a_503(path: Path, database: Database) -> None:
    # Only this connection's patience is shortened: the server's own is a quarter of a minute.
    @event.listens_for(database._engine, "checkout")
    def be_impatient(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout=10")

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError, match="database is locked") as caught, database.write() as session:
            session.scalars(select(FileRow)).all()

    assert (caught.value.status, caught.value.body["error"]["code"]) == (503, "database_unavailable")
    assert "x-should-retry" not in caught.value.headers


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_unstorable_text_is_a_400(database: Database, text: str) -> None:
    for row in (
        FileRow(id="file", bytes=0, created_at=0, filename=text, purpose=""),
        FileRow(id=text, bytes=0, created_at=0, filename="", purpose=""),
    ):
        with pytest.raises(Exception, match="unpaired surrogate") as caught, database.write() as session:
            session.add(row)
        assert getattr(caught.value, "status", None) == 400


def test_a_nul_in_a_request_is_a_400(client: OpenAI, training_file: FileObject) -> None:
    create = client.fine_tuning.jobs.create
    for arguments in ({"suffix": "a\0b"}, {"metadata": {"k": "a\0b"}}, {"metadata": {"a\0b": "v"}}):
        with pytest.raises(BadRequestError, match="NUL character"):
            create(model="baseline-text", training_file=training_file.id, **arguments)


def test_a_nul_in_an_address_is_a_400(server: ServerProcess) -> None:
    answer = server.request("GET", "/v1/fine_tuning/jobs/ftjob-a%00b")

    assert (answer.status, answer.error["code"]) == (400, "invalid_value")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:secret@h/d", "it begins with mysql"),
        ("sqlite:///secret.db", "it begins with sqlite"),
        ("secret", "can't be read"),
        ("postgresql://u:secret@h:port/d", "can't be read"),
        ("postgresql+asyncpg://u:secret@h/d", r"begins with postgresql\+asyncpg"),
    ],
)
def test_other_databases_are_refused(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(ServerError, match=words) as caught:
        database_url(SecretStr(url), tmp_path)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["postgres", "postgresql", "postgresql+psycopg"])
def test_all_names_of_postgresql_are_accepted(tmp_path: Path, name: str) -> None:
    url = database_url(SecretStr(f"{name}://u:p%40ss@h/d"), tmp_path)

    assert (url.drivername, url.password) == ("postgresql+psycopg", "p@ss")


def test_threads_write_one_after_the_other(database: Database) -> None:
    def write(name: str) -> None:
        for number in range(20):
            with database.write() as session:
                session.add(FileRow(id=f"{name}-{number}", bytes=0, created_at=0, filename="", purpose=""))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as session:
        assert len(session.scalars(select(FileRow)).all()) == 80


def test_a_temporary_failure_to_open_the_database_is_logged_in_one_line(
    database: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = path.parent.rename(path.parent.with_name("moved"))
    # One connection is open already; the second one would need the file.
    with database.read() as first:
        first.execute(select(FileRow.id))
        with pytest.raises(DatabaseUnavailableError, match="unable to open"):
            read_files(database)

    moved.rename(path.parent)
    [record] = caplog.records
    assert "unable to open database file" in record.message
    with database.read() as first:
        first.execute(select(FileRow.id))
        assert read_files(database) == []


def read_files(database: Database) -> Sequence[str]:
    with database.read() as session:
        return session.scalars(select(FileRow.id)).all()
