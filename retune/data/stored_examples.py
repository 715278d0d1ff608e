"""Examples between two steps: a file that keeps, with each, where it was found in the source."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from retune.data.examples import Example, canonical_json
from retune.data.jsonl import FileFacts, read_jsonl, write_jsonl


def store_examples(path: Path, examples: Iterable[Example]) -> FileFacts:
    """Write examples with their locations, one JSON object a line.

    Raises:
        DataError: An example holds what JSON can't.
        RunDirectoryError: The file can't be written.
    """
    return write_jsonl(path, ({"location": example.location, "body": example.body} for example in examples))


def read_stored_examples(path: Path) -> list[Example]:
    """Read what `store_examples` wrote.

    Raises:
        SourceError: The file is missing or damaged.
    """
    return [Example(body=line["body"], location=line["location"]) for line in read_jsonl(path)]


def hash_examples(examples: Iterable[Example]) -> str:
    """Hex SHA-256 of what the examples hold, in their order; where they were found does not count."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(canonical_json(example.body) + b"\n")
    return digest.hexdigest()
