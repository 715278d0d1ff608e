"""The fastest plain way from a table to JSON lines: DuckDB's COPY, with nothing checked, counted or split.

python duckdb_copy.py TABLE OUTPUT_DIRECTORY
"""

import sys
from pathlib import Path

import duckdb


def main(table: Path, output: Path) -> None:
    messages = "[{'role': 'user', 'content': question}, {'role': 'assistant', 'content': answer}] AS messages"
    source = f"read_csv('{table}', all_varchar = true, header = true)"
    duckdb.sql(f"COPY (SELECT {messages} FROM {source}) TO '{output / 'all.jsonl'}' (FORMAT json)")  # noqa: S608  (its own paths)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
