"""Addresses of the web, read from a real server on this machine."""

import gzip
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

from retune.config import DataConfig, SourceFormat
from retune.data.sources.files.locations import Location, find_files
from retune.data.sources.files.remote import RemoteFiles
from retune.data.sources.open import open_source
from retune.errors import SourceError
from retune.redaction.addresses import Address

pytest.importorskip("aiohttp")

ROWS = b"question,label\n" * 200_000


class Site(SimpleHTTPRequestHandler):
    """Serves a folder; some paths and signatures get other answers."""

    silent = threading.Event()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/closed") and "sig=s3cret" not in self.path:
            self.send_error(403)
        elif path.startswith("/silent"):
            self.silent.wait(30)
        elif path.startswith("/broken"):
            self.send_error(500)
        elif path.startswith("/short"):
            self._send(200, ROWS[:1000], {"Content-Length": str(len(ROWS))})
        elif path.startswith("/moved"):
            self._send(302, b"", {"Location": path.replace("/moved", ""), "Content-Length": "0"})
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if urlsplit(self.path).path.startswith(("/closed", "/silent", "/broken", "/short", "/moved")):
            self.send_error(405)
        else:
            super().do_HEAD()

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A reader that leaves early is no fault of the server's."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    for folder in ("data/2026", "closed"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("data/b.csv", "data/a.csv", "closed/a.csv"):
        (tmp_path / name).write_bytes(ROWS)
    (tmp_path / "data/2026/c.csv.gz").write_bytes(gzip.compress(ROWS))
    (tmp_path / "data/notes.md").write_bytes(b"notes")
    server = Server(("127.0.0.1", 0), partial(Site, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    Site.silent.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    Site.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


def find(source: str) -> list[Location]:
    return find_files(source, SourceFormat.AUTO)


def read(source: str) -> bytes:
    [location] = find(source)
    with location.open() as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("data/a.csv", len(ROWS)),
        ("data/2026/c.csv.gz", None),
        ("moved/data/a.csv", len(ROWS)),
    ],
)
def test_a_file_is_read(site: str, path: str, size: int | None) -> None:
    [location] = find(f"{site}/{path}")
    assert location.name == f"{site}/{path}"
    assert location.suffix == ".csv"
    assert location.size == (size or len(gzip.compress(ROWS)))
    with location.open() as stream:
        assert not stream.seekable()
        assert stream.readline() == b"question,label\n"
        assert len(stream.read()) == len(ROWS) - 15


def test_a_whole_source_is_read(site: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        table = pd.DataFrame({"question": [name] * 3000, "label": range(3000)})
        table.to_parquet(tmp_path / "data/2026" / f"{name}.parquet")
    source = open_source(DataConfig(source=f"{site}/data/2026/*.parquet"))
    assert source.columns == ("question", "label")
    rows = [row for block in source.blocks() for row in block.rows()]
    assert [row.values["label"] for row in rows] == [*range(3000), *range(3000)]


def test_a_signature_opens_and_is_not_shown(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNATURE", "s3cret")
    for query in ("sig=s3cret", "sig=${SIGNATURE}", "a=1&sig=s3cret"):
        [location] = find(f"{site}/closed/a.csv?{query}")
        assert location.name == f"{site}/closed/a.csv"
        assert location.suffix == ".csv"
        assert "s3cret" not in repr(location)
        with location.open() as stream:
            assert len(stream.read()) == len(ROWS)


def test_folders_and_patterns_are_read_where_the_server_lists_them(site: str) -> None:
    expected = [f"{site}/data/2026/c.csv.gz", f"{site}/data/a.csv", f"{site}/data/b.csv"]
    assert [location.name for location in find(f"{site}/data/")] == expected
    assert [location.name for location in find(f"{site}/data/*.csv")] == expected[1:]
    with pytest.raises(SourceError, match=r"No file matches http.*\.parquet\."):
        find(f"{site}/data/*.parquet")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nothing.csv?sig=wr0ng", r"There is no file http://127.0.0.1:\d+/nothing.csv\.$"),
        ("closed/a.csv?sig=wr0ng", r"Access to http://127.0.0.1:\d+/closed/a.csv was refused: 403"),
        ("broken/a.csv?sig=wr0ng", r"broken/a.csv can't be read: ClientResponseError: 500"),
    ],
)
def test_what_a_server_refuses_is_one_clear_error(site: str, path: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        read(f"{site}/{path}")
    assert "wr0ng" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_file_that_ends_early_is_an_error(site: str) -> None:
    with pytest.raises(SourceError, match=r"short\.csv can't be read: "):
        read(f"{site}/short.csv")


def test_a_server_that_says_nothing_is_given_up(site: str) -> None:
    files = RemoteFiles(Address.of(f"{site}/silent.csv"), timeout_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(SourceError, match=r"silent\.csv can't be read: no answer in time\."):
        files.find()
    assert time.monotonic() - started < 25  # and not the 30 seconds after which it says something


def test_no_server_is_one_clear_error() -> None:
    with pytest.raises(SourceError, match=r"x\.csv can't be read: ConnectionRefusedError: "):
        find("http://127.0.0.1:1/x.csv?sig=s3cret")
