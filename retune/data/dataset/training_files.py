"""Dealing stored examples to a training, a validation and a test file."""

import codecs
import hashlib
import os
import shutil
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.text.jsonl import FileFacts
from retune.errors import RunDirectoryError
from retune.files import atomic_write, sha256_of_file, writing
from retune.private_files import make_private_directory, private_opener

_FOR_THE_PROVIDER = ("train", "validation")


def write_splits(
    store: ExampleStore, splits: npt.NDArray[np.uint8], directory: Path, *, with_bom: bool = False
) -> dict[str, FileFacts]:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`; a split without examples gets no file.

    The same examples give the same bytes. Files appear under their names once all of them are whole; if anything
    fails before, whatever was there stays. A file of an older split that got no examples now is removed.

    Args:
        store: The examples.
        splits: For each, its place in `SPLITS`.
        directory: Where the files go; not the store's own, whose files have the same names.
        with_bom: Start files for the provider, which the test file is not, with a byte order mark.

    Returns:
        Facts of each file that was written, by its split.

    Raises:
        RunDirectoryError: A file can't be written, for example because the disk is full.
        ValueError: The directory is the store's own.
    """
    if directory.resolve() == store.directory.resolve():
        raise ValueError(f"{directory} is the examples' own directory; write the splits to another")
    paths = {name: directory / f"{name}.jsonl" for name in SPLITS[1:]}
    wanted = {name: path for name, path in paths.items() if (splits == SPLITS.index(name)).any()}
    with writing(directory):
        make_private_directory(directory)
        if not with_bom and np.array_equal(splits, store.column("part")):
            facts = _take_over({name: store.facts.parts[name] for name in wanted}, wanted)
        else:
            facts = _write(store, splits, wanted, with_bom=with_bom)
        for name in paths.keys() - wanted.keys():
            paths[name].unlink(missing_ok=True)
    return facts


def require_unchanged(file: FileFacts) -> None:
    """Make sure that a file is what was written: it leaves the building in the next moment, and people can edit it.

    Raises:
        RunDirectoryError: It is gone, can't be read, or holds something else.
    """
    hint = f"Delete {file.path.parent} and run again: files and job are found again at the provider."
    try:
        is_same = file.path.stat().st_size == file.bytes and sha256_of_file(file.path) == file.sha256
    except FileNotFoundError:
        raise RunDirectoryError(f"{file.path} is missing, though an earlier run wrote it.", hint=hint) from None
    except OSError as error:
        raise RunDirectoryError(f"Can't read {file.path}: {error.strerror}.", hint=hint) from error
    if not is_same:
        raise RunDirectoryError(f"{file.path} was changed since it was written, and was not uploaded.", hint=hint)


def _write(
    store: ExampleStore, splits: npt.NDArray[np.uint8], paths: dict[str, Path], *, with_bom: bool
) -> dict[str, FileFacts]:
    with ExitStack() as stack:
        outputs = {
            SPLITS.index(name): _Output(
                stack.enter_context(atomic_write(path)), with_bom=with_bom and name in _FOR_THE_PROVIDER
            )
            for name, path in paths.items()
        }
        for split, line in zip(splits.tolist(), store.lines(), strict=True):
            outputs[split].write(line)
        # A disk is found to be full here at the latest, when no file has got its name yet.
        for output in outputs.values():
            output.sync()
    return {name: outputs[SPLITS.index(name)].facts(path) for name, path in paths.items()}


def _take_over(parts: dict[str, FileFacts], paths: dict[str, Path]) -> dict[str, FileFacts]:
    """Let parts of the store, which are never written again, be the files."""
    with ExitStack() as stack:
        temporaries = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp") for path in paths.values()}
        for name, path in paths.items():
            # Renaming a name of a file over another of its names does nothing.
            stack.callback(temporaries[path].unlink, missing_ok=True)
            _link_or_copy(parts[name].path, temporaries[path])
        for path, temporary in temporaries.items():
            temporary.replace(path)
    return {name: parts[name].model_copy(update={"path": path}) for name, path in paths.items()}


def _link_or_copy(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:
        with path.open("rb") as lines, open(to, "xb", opener=private_opener) as output:
            shutil.copyfileobj(lines, output)
            output.flush()
            os.fsync(output.fileno())


class _Output:
    def __init__(self, stream: IO[bytes], *, with_bom: bool) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._bytes = self._examples = 0
        if with_bom:
            self._bytes += stream.write(codecs.BOM_UTF8)
            self._digest.update(codecs.BOM_UTF8)

    def write(self, line: bytes) -> None:
        self._bytes += self._stream.write(line)
        self._digest.update(line)
        self._examples += 1

    def sync(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def facts(self, path: Path) -> FileFacts:
        return FileFacts(path=path, sha256=self._digest.hexdigest(), bytes=self._bytes, examples=self._examples)
