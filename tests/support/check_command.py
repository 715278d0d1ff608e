"""`retune check` in this process: through the command line's own `main`, which is what decides on the exit status."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from retune.cli import app


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    @property
    def kinds(self) -> set[str]:
        return {group["kind"] for group in self.document["groups"]}


Check = Callable[..., Answer]


def run_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> Answer:
    monkeypatch.setattr(sys, "argv", ["retune", "check", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert isinstance(stopped.value.code, int)
    return Answer(stopped.value.code, captured.out, captured.err)


def write_table(name: str, rows: list[tuple[str, str]], header: tuple[str, str] = ("question", "answer")) -> None:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in (header, *rows)]
    Path(name).write_bytes("\n".join([*lines, ""]).encode())


def files() -> dict[Path, bytes]:
    """Every file of this directory and below, with its bytes."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def good_rows(n: int = 40) -> list[tuple[str, str]]:
    topics = ("parcel", "invoice", "refund", "password", "address", "order", "delivery", "account", "coupon", "size")
    return [
        (f"What about the {topics[i % 10]} of customer {i * 7919}?", f"See page {i}: {topics[i % 7]}.")
        for i in range(n)
    ]
