"""Result files from a provider that sends more than a result file can hold."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from retune.errors import ProviderError
from retune.provider.files import download_result_files

_CONTENT = b"step,train_loss\n" + b"1,0.5\n" * 200


class _Provider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(_CONTENT)))
        self.end_headers()
        self.wfile.write(_CONTENT)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def base_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


async def test_a_result_file_within_the_limit_is_kept_byte_for_byte(base_url: str, tmp_path: Path) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        [path] = await download_result_files(client, ["file-1"], tmp_path, most_bytes=len(_CONTENT))
    assert path.read_bytes() == _CONTENT


async def test_a_result_file_beyond_the_limit_is_refused_and_leaves_nothing(base_url: str, tmp_path: Path) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        with pytest.raises(ProviderError, match="more than 1,000 bytes"):
            await download_result_files(client, ["file-1"], tmp_path, most_bytes=1000)
    assert not any(os.scandir(tmp_path))
