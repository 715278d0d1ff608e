"""The same server on PostgreSQL."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import postgresql
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from openai import BadRequestError, InternalServerError, OpenAI
from postgresql import PostgreSQL
from pydantic import SecretStr
from server_process import (
    ServerProcess,
    StartServer,
    ended,
    example_lines,
    messages_on_record,
    steps_on_record,
    upload,
    wait_for_step,
)
from sqlalchemy import URL, create_engine, func, select, text
from waiting import wait_for

from retune.errors import ServerError
from retune.server.storage.database import Database
from retune.server.storage.engines import create_database_engine, database_url
from retune.server.storage.migrations import upgrade
from retune.server.storage.server_lock import _SERVER_LOCK, DatabaseInUseError, ServerLock
from retune.server.storage.tables import FileRow, Table

pytestmark = pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing()))


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    # Not under pytest's own directory, which root's other users can't enter.
    with TemporaryDirectory(prefix="retune-postgresql-") as directory:
        cluster = PostgreSQL(Path(directory)).create()
        yield cluster
        cluster.stop()


@pytest.fixture
def url(cluster: PostgreSQL) -> URL:
    return database_url(SecretStr(shown(cluster.new_database())), Path())


@pytest.fixture
def start_on(start_server: StartServer, url: URL) -> StartServer:
    def start(*arguments: str) -> ServerProcess:
        return start_server(*arguments, RETUNE_SERVER_DATABASE_URL=shown(url))

    return start


def shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def start_job(client: OpenAI, rows: int = 100, epochs: int = 10, **arguments: object) -> str:
    file = upload(client, example_lines(rows))
    hyperparameters = {"n_epochs": epochs, "batch_size": 1}
    create = client.fine_tuning.jobs.create
    return create(model="baseline-text", training_file=file.id, hyperparameters=hyperparameters, **arguments).id  # type: ignore[arg-type]


def succeeded(client: OpenAI, job_id: str, steps: int) -> str:
    job = ended(client, job_id)
    assert job.status == "succeeded", job.error
    assert steps_on_record(client, job_id) == list(range(1, steps + 1))
    told = messages_on_record(client, job_id)
    assert len(set(told)) == len(told)
    assert told[-1] == "The job has successfully completed"
    assert job.fine_tuned_model
    return job.fine_tuned_model


@pytest.mark.slow
def test_files_jobs_and_models_work_on_postgresql(start_on: StartServer) -> None:
    server: ServerProcess = start_on()
    client = server.client()
    files = [upload(client, example_lines(10), f"{number}.jsonl") for number in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == [file.id for file in files[::-1]]
    assert client.files.content(files[3].id).content == example_lines(10)
    client.files.delete(files[4].id)

    key = {"Idempotency-Key": "once"}
    jobs = client.fine_tuning.jobs
    made = [
        jobs.create(model="gpt-4o", training_file=files[0].id, metadata={"n": "1"}, extra_headers=key) for _ in range(2)
    ]
    assert made[0].id == made[1].id
    model = succeeded(client, made[0].id, len(steps_on_record(client, ended(client, made[0].id).id)))
    assert [job.id for job in jobs.list(extra_query={"metadata[n]": "1"})] == [made[0].id]
    assert list(jobs.list(extra_query={"metadata[n]": "2"})) == []
    assert len(list(jobs.list_events(made[0].id, limit=3))) > 4
    assert jobs.checkpoints.list(made[0].id, limit=1).data[0].fine_tuned_model_checkpoint == model
    question = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "question 1"}])
    assert question.choices[0].message.content
    with pytest.raises(BadRequestError, match="NUL character"):
        jobs.create(model="gpt-4o", training_file=files[0].id, metadata={"n": "\0"})


@pytest.mark.slow
def test_a_killed_server_resumes_and_another_is_refused(
    start_on: StartServer,
    refuse: Callable[..., tuple[int, str]],
    url: URL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = (server := start_on()).client()
    job_id = start_job(client)
    cancelled = start_job(client)
    client.fine_tuning.jobs.cancel(cancelled)
    wait_for_step(client, job_id, 150)
    before = steps_on_record(client, job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "running"

    server.end(signal.SIGKILL)

    client = start_on().client()
    assert steps_on_record(client, job_id)[: len(before)] == before
    monkeypatch.setenv("RETUNE_SERVER_DATABASE_URL", shown(url))
    status, said = refuse(tmp_path / "elsewhere")
    assert (status, "already used by another server" in said) == (75, True)
    assert str(url.password) not in said
    assert "Traceback" not in said
    succeeded(client, job_id, 1000)
    assert client.fine_tuning.jobs.retrieve(cancelled).status == "cancelled"


@pytest.mark.slow
def test_a_restart_of_the_database_is_survived(start_on: StartServer, cluster: PostgreSQL) -> None:
    server: ServerProcess = start_on()
    client = server.client()
    # It is not over before the database is back, however long that takes.
    job_id = start_job(client, rows=300, epochs=50)
    wait_for_step(client, job_id, 50)

    cluster.stop()
    try:
        with pytest.raises(InternalServerError) as caught:
            client.fine_tuning.jobs.retrieve(job_id)
        assert (caught.value.status_code, caught.value.code) == (503, "database_unavailable")
        assert caught.value.type == "server_error"
        assert "x-should-retry" not in caught.value.response.headers
        with pytest.raises(InternalServerError):
            upload(client, example_lines(10))
    finally:
        cluster.start()

    assert client.fine_tuning.jobs.retrieve(job_id).status == "running"
    # The step that the training had come to meanwhile, and more of them.
    before = max(steps_on_record(client, job_id))
    wait_for_step(client, job_id, before + 500)
    client.fine_tuning.jobs.cancel(job_id)
    steps = steps_on_record(client, job_id)
    assert steps == list(range(1, len(steps) + 1))
    assert upload(client, example_lines(10)).status == "processed"
    assert server.process
    assert server.process.poll() is None


@pytest.mark.slow
def test_the_lock_is_reacquired_after_a_restart(url: URL, cluster: PostgreSQL) -> None:
    database = Database(url)
    cluster.stop()
    cluster.start()

    def is_held() -> bool:
        engine = create_engine(url)
        with engine.connect() as connection:
            held = connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"))
        engine.dispose()
        return bool(held == 1)

    wait_for(is_held, "the lock")
    database.close()
    assert not is_held()


QUICKER_SERVER = """
import sys, time
from sqlalchemy import make_url
from retune.server.storage import server_lock
from retune.server.storage.database import Database
server_lock._LOCK_TIMEOUT_SECONDS = 0.2
database = Database(make_url(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
print("not stopped")
"""


@pytest.mark.slow
def test_a_server_that_lost_its_database_to_another_stops(url: URL) -> None:
    with subprocess.Popen([sys.executable, "-c", QUICKER_SERVER, shown(url)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
            take = text("SELECT pg_try_advisory_lock(:key)")
            wait_for(lambda: connection.scalar(take, {"key": _SERVER_LOCK}), "the lock")
            assert process.wait(30) == -signal.SIGTERM
        engine.dispose()


def test_migrations_create_the_tables_of_the_models(url: URL) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    engine.dispose()
    Database(url).close()


def test_a_new_database_has_the_same_tables(url: URL) -> None:
    Database(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE jobs (mine int)", "already holds tables of another program: jobs"),
        ("CREATE TABLE alembic_version AS SELECT 'ae1027' AS version_num", "holds another program's tables"),
        ("CREATE TABLE alembic_version AS SELECT '0099' AS version_num", "has schema version 99"),
    ],
)
def test_a_foreign_database_is_not_touched(url: URL, cluster: PostgreSQL, statement: str, words: str) -> None:
    cluster.execute(statement, str(url.database))

    with pytest.raises(ServerError, match=words) as caught:
        Database(url)

    assert str(url.password) not in str(caught.value)


def test_an_unreachable_database_is_reported(url: URL) -> None:
    for wrong in (url.set(port=1), url.set(password="wrong-password"), url.set(database="nothing")):
        with pytest.raises(ServerError, match="Can't use the server's database") as caught:
            Database(wrong)
        assert str(wrong.password) not in str(caught.value)


WRITER = """
import sys
from sqlalchemy import func, make_url, select
from retune.server.storage.database import Database
from retune.server.storage.tables import FileRow
database = Database(make_url(sys.argv[1]), owner=False)
for number in range(20):
    with database.write() as session:
        count = session.scalar(select(func.count()).select_from(FileRow))
        session.add(FileRow(id=f"{sys.argv[2]}-{number}", bytes=count, created_at=2**40, filename="", purpose=""))
"""


def test_processes_write_one_after_the_other(url: URL) -> None:
    database = Database(url)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, shown(url), name]) for name in "ab"]

    assert [writer.wait(60) for writer in writers] == [0, 0]

    with database.read() as session:
        assert session.scalars(select(FileRow.bytes).order_by(FileRow.position)).all() == list(range(40))
        database_2 = Database(url, owner=False)
        with database_2.write() as other:
            other.add(FileRow(id="later", bytes=0, created_at=0, filename="", purpose=""))
        database_2.close()
        assert session.scalar(select(func.count()).select_from(FileRow)) == 40
    database.close()


def test_two_servers_never_share_a_database(url: URL) -> None:
    database = Database(url)
    engine = create_database_engine(url)
    with pytest.raises(DatabaseInUseError, match="already used by another server"):
        ServerLock(engine, timeout_seconds=0.2)
    engine.dispose()
    database.close()
    Database(url).close()
