"""The work queue: no row is missed or processed twice at once, and errors are retried."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Select, select, text
from waiting import wait_for

from retune.server.storage.database import Database
from retune.server.storage.engines import database_url
from retune.server.storage.tables import BatchRow
from retune.server.work_queue import WorkQueue

NewQueue = Callable[..., WorkQueue[BatchRow]]

LONG_SECONDS = 3600.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(database_url(None, tmp_path / "server.sqlite"))
    yield opened
    opened.close()


@pytest.fixture
def new_queue(database: Database) -> Iterator[NewQueue]:
    queues: list[WorkQueue[BatchRow]] = []

    def new(**clocks: float) -> WorkQueue[BatchRow]:
        queues.append(WorkQueue(database, BatchRow, "Batches", again, **clocks))
        return queues[-1]

    yield new
    for queue in queues:
        queue.stop()


def again(batch: BatchRow, error: Exception) -> None:
    raise error


def add(database: Database, batch_id: str) -> None:
    with database.write() as session:
        row = BatchRow(
            id=batch_id, created_at=0, endpoint="", completion_window="", input_file_id="", status="new", expires_at=0
        )
        session.add(row)


def new_batches() -> Select[tuple[BatchRow]]:
    return select(BatchRow).where(BatchRow.status == "new").order_by(BatchRow.position)


def finisher(database: Database, done: list[str]) -> Callable[[BatchRow], None]:
    def finish(batch: BatchRow) -> None:
        done.append(batch.id)
        with database.write() as session:
            session.merge(batch).status = "done"

    return finish


def test_wake_does_not_wait_for_the_database(new_queue: NewQueue) -> None:
    asking, answer = threading.Event(), threading.Event()

    def asked() -> Select[tuple[BatchRow]]:
        asking.set()
        answer.wait()
        return new_batches()

    queue = new_queue()
    queue.add_thread("worker", asked, lambda batch: None)
    queue.start()
    assert asking.wait(60)
    bringer = threading.Thread(target=queue.wake, daemon=True)

    bringer.start()
    bringer.join(20)

    was_kept_waiting = bringer.is_alive()
    answer.set()
    assert not was_kept_waiting


def test_changes_during_a_query_are_not_lost(new_queue: NewQueue, database: Database) -> None:
    done: list[str] = []
    queue = new_queue(poll_seconds=LONG_SECONDS)
    added = threading.Event()

    def asked() -> Select[tuple[BatchRow]]:
        if added.is_set():
            return new_batches()
        add(database, "b")
        queue.wake()
        added.set()
        # As if the database had been looked at just before.
        return new_batches().where(BatchRow.id != "b")

    queue.add_thread("worker", asked, finisher(database, done))
    queue.start()

    wait_for(lambda: done == ["b"], "the batch")


def test_each_row_is_processed_once_and_in_order(new_queue: NewQueue, database: Database) -> None:
    done: list[str] = []
    queue = new_queue()
    for number in range(3):
        queue.add_thread(f"worker-{number}", new_batches, finisher(database, done))
    for number in range(30):
        add(database, str(number))

    queue.start()

    wait_for(lambda: len(done) >= 30, "all batches")
    queue.stop()
    assert sorted(done, key=int) == [str(number) for number in range(30)]


def test_an_error_is_logged_once_and_retried(
    new_queue: NewQueue, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    queue = new_queue(pause_after_error_seconds=0.01)
    looks: list[None] = []

    def asked() -> Select[tuple[BatchRow]]:
        looks.append(None)
        # Each statement is another one, as those that hold the time are.
        return new_batches().where(BatchRow.position > -len(looks))

    queue.add_thread("worker", asked, finisher(database, done))
    with database.write() as session:
        session.execute(text("ALTER TABLE batches RENAME TO elsewhere"))
    queue.start()
    wait_for(lambda: len(looks) > 5, "looks in vain")
    with database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO batches"))
    add(database, "b")

    wait_for(lambda: done == ["b"], "the batch")

    assert [record.message for record in caplog.records] == ["Batches are delayed: no such table: batches"]


def test_a_row_whose_failure_can_not_be_recorded_is_retried(
    new_queue: NewQueue, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    finish = finisher(database, done)
    tried: list[str] = []

    def work(batch: BatchRow) -> None:
        tried.append(batch.id)
        if len(tried) < 4:
            raise ValueError("not yet")
        finish(batch)

    queue = new_queue(pause_after_error_seconds=0.01)
    queue.add_thread("worker", new_batches, work)
    add(database, "b")
    queue.start()

    wait_for(lambda: done == ["b"], "the batch")

    assert tried == ["b"] * 4
    assert [record.message for record in caplog.records] == ["Batches are delayed: not yet"]


def test_long_work_notices_that_it_is_no_longer_wanted(new_queue: NewQueue, database: Database) -> None:
    add(database, "b")
    queue = new_queue(status_check_seconds=0)
    with database.read() as session:
        batch = session.scalar(new_batches())
    assert batch
    is_cancelled = queue.cancellation_check(batch)
    assert not is_cancelled()

    with database.write() as session:
        session.execute(text("UPDATE batches SET status = 'cancelling'"))
    assert is_cancelled()
    with database.write() as session:
        session.execute(text("UPDATE batches SET status = 'new'"))
    assert not is_cancelled()
    queue.stop()
    assert is_cancelled()
