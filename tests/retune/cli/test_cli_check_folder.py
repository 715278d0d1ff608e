"""A folder with files of several formats, plain and packed, by the command."""

import json
from pathlib import Path
from typing import Literal

import pyarrow as pa
from check_command import Check


def _write(path: Path, content: str, packing: Literal["gzip", "zstd"] | None) -> None:
    path.parent.mkdir(exist_ok=True)
    if packing is None:
        path.write_text(content, encoding="utf-8")
    else:
        with pa.CompressedOutputStream(str(path), packing) as stream:
            stream.write(content.encode())


def test_plain_gzip_and_zstd_files_beside_one_another(check: Check) -> None:
    rows = [(f"question number {number}, or so?", f"Answer {number % 7}.") for number in range(60)]
    lines = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in rows]
    table = ["question,answer\n", *(f'"{question}",{answer}\n' for question, answer in rows)]
    _write(Path("data/a.csv"), "".join(table[:21]), None)
    _write(Path("data/b.jsonl.gz"), "".join(lines[20:40]), "gzip")
    _write(Path("data/c.csv.zst"), "".join((table[0], *table[41:51])), "zstd")
    _write(Path("data/d.jsonl.zst"), "".join(lines[50:]), "zstd")
    _write(Path("plain.csv"), "".join(table), None)

    folder, plain = (check(source, "--json") for source in ("data", "plain.csv"))

    assert folder.status == plain.status == 0, folder
    read, same = json.loads(folder.out), json.loads(plain.out)
    assert [(Path(file["name"]).name, file["format"]) for file in read["files"]] == [
        ("a.csv", "csv"),
        ("b.jsonl.gz", "jsonl"),
        ("c.csv.zst", "csv"),
        ("d.jsonl.zst", "jsonl"),
    ]
    for key in ("n_examples", "tokens", "token_histogram", "splits", "cost"):
        assert read[key] == same[key]
