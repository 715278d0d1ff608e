"""Training files, sent to a server."""

from functools import partial
from pathlib import Path

import pytest
from faulty_proxy import faulty_proxy
from step_runs import Rows, configuration, prepare, write_csv

from retune.config import ProviderConfig
from retune.provider.files import upload_once
from retune.provider.uploads import UploadLimits
from tasks.upload_file import upload_file

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def test_a_file_past_the_limit_goes_up_in_parts(
    training_server: str, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = UploadLimits(single_bytes=1_000, part_bytes=1_500)
    monkeypatch.setattr("tasks.upload_file.upload_once", partial(upload_once, limits=small))
    config = configuration(write_csv(tmp_path / "data.csv", rows), training_server)
    files = await prepare(config)
    with faulty_proxy(training_server) as proxy:
        provider = ProviderConfig(base_url=proxy.base_url)
        first = await upload_file(files.run, files.train, provider)
        second = await upload_file(files.run, files.train, provider)
        assert proxy.count("POST", "/parts") == -(-files.train.bytes // 1_500)
        assert proxy.count("POST", "/files") == 0
    assert (first.file.adopted, second.file.adopted) == (False, True)
    assert first.file.file_id == second.file.file_id
