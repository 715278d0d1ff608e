"""New examples are counted in data that is complete."""

from pathlib import Path

import pytest
from step_runs import ROWS, configuration, write_csv

from retune.watch.config import WatchConfig
from retune.watch.snapshot import take_snapshot
from tasks.count_new_examples import count_new_examples

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.slow
async def test_data_that_changed_while_it_was_read_settles_anew(tickets: Path) -> None:
    config, watch = configuration(str(tickets)), WatchConfig(quiet_seconds=60)
    snapshot = take_snapshot(config.data, watch)
    write_csv(tickets, [*ROWS, ("one", "more")])
    counted = await count_new_examples(config, watch, snapshot)
    assert (counted.status, counted.counted) == ("settling", None)
