"""Several sources read as one: the examples, and the validation and test splits that somebody named beside them."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from retune.config import DataConfig
from retune.data.problems.problems import FileNote, Finding
from retune.data.sources.blocks import Block, Row, Source, SourceFile, UnreadFile
from retune.data.sources.split_names import flag_named, is_split_column, split_named_alone, split_of_key, splits_in_name
from retune.errors import SourceError

MOST_FILES = 1 << 16
"""Examples keep the index of their file in 16 bits."""

_SETTINGS = {"validation": "data.validation_source", "test": "data.test_source"}

OnRead = Callable[[int], None]


def open_with_splits(data: DataConfig, open_one: Callable[[DataConfig, OnRead], Source], on_read: OnRead) -> Source:
    """Open the source, and the sources that the settings name for single splits, as one.

    What is named for a split is of that split alone. Files that the source has too are read for the split.

    Args:
        data: What the user points at.
        open_one: Opens one source; it goes by `data.source`.
        on_read: Called with the bytes read so far, of all of them.

    Raises:
        SourceError: One can't be opened, is a database, is named for both splits, or nothing is left to train on.
    """
    read: dict[str, int] = {}

    def tell(part: str, done: int) -> None:
        read[part] = done
        on_read(sum(read.values()))

    source = open_one(data, partial(tell, "source"))
    if data.ignore_splits:
        source.files = _of_split(source.files, None, "")
    else:
        notes = _note_name_alone(source.files)
        source.files = _declared(source.files)
        source.split_notes = notes or _note_unused_names(source.files)
    parts = []
    for split, place in data.held_out_sources.items():
        alone = data.model_copy(update={"source": place, "query": None, "sheet": None})
        part = open_one(alone, partial(tell, split))
        _refuse_own_splits(part, _SETTINGS[split])
        part.files = _of_split(part.files, split, _SETTINGS[split])
        parts.append(part)
    if not parts:
        return source
    _refuse_both(parts)
    named = {_identity(file) for part in parts for file in part.files}
    return JoinedSource([source, *parts], [_identity(file) in named for file in source.files])


class JoinedSource(Source):
    """Sources one after the other. The first gives the name, and the rows by which the format is chosen.

    Args:
        parts: The sources, opened.
        is_left_out: For each file of the first whether its rows are left out.

    Raises:
        SourceError: They have too many files, or nothing is left of the first.
    """

    def __init__(self, parts: Sequence[Source], is_left_out: Sequence[bool]) -> None:
        self.name = parts[0].name
        self.late_rows = parts[0].late_rows
        if all(is_left_out):
            raise SourceError(
                f"Every file of {self.name} is named for validation or test, so nothing is left to train on.",
                hint="Name files with other examples as the source.",
            )
        self._parts = parts
        # The index that each file of each part has here; None for one that is left out.
        self._places: list[list[int | None]] = []
        self.files = []
        for part in parts:
            is_out = is_left_out if part is parts[0] else [False] * len(part.files)
            places: list[int | None] = []
            for file, out in zip(part.files, is_out, strict=True):
                places.append(None if out else len(self.files))
                self.files += [] if out else [file]
            self._places.append(places)
        if len(self.files) > MOST_FILES:
            raise SourceError(f"{self.name} has {len(self.files):,} files; at most {MOST_FILES:,} can be read at once.")

    def blocks(self) -> Iterator[Block]:
        """Read everything, once, in order.

        Raises:
            SourceError: It can't be read on.
        """
        for part, places in zip(self._parts, self._places, strict=True):
            for block in part.blocks():
                place = places[block.file]
                if place is not None:
                    block.file = place
                    yield block

    def sample(self) -> list[Row]:
        """The first rows of the first part."""
        return self._parts[0].sample()

    def notes(self) -> list[FileNote]:
        """What is odd about the text of the files, as far as `blocks` was read."""
        return [
            note._replace(file=place)
            for part, places in zip(self._parts, self._places, strict=True)
            for note in part.notes()
            if (place := places[note.file]) is not None
        ]

    def unread(self) -> list[UnreadFile]:
        """The files of folders that are left out."""
        return [file for part in self._parts for file in part.unread()]

    def row_numbers(self) -> dict[int, tuple[int, int]]:
        """See `Source.row_numbers`."""
        return {
            place: numbers
            for part, places in zip(self._parts, self._places, strict=True)
            for file, numbers in part.row_numbers().items()
            if (place := places[file]) is not None
        }


def _declared(files: Sequence[SourceFile]) -> list[SourceFile]:
    """The files with the splits that they declare under their usual names, where these tell something apart."""
    splits = [None if file.split is None else split_of_key(file.split) for file in files]
    if not set(splits) - {"train", None} or len(set(splits)) == 1:
        return _of_split(files, None, "")
    return [
        replace(file, split=split, split_by=file.split_by if split else "")
        for file, split in zip(files, splits, strict=True)
    ]


def _note_name_alone(files: Sequence[SourceFile]) -> list[FileNote]:
    """A warning where all that there is to train on is named for validation or test."""
    split = split_named_alone([file.split or PurePosixPath(file.name).name for file in files])
    if split is None or any(map(_has_split_column, files)):
        return []
    message = f"its name says {split}, and there is nothing else: it is split anew, and most of it is trained on."
    return [FileNote(0, Finding("split_name_alone", message))]


def _note_unused_names(files: Sequence[SourceFile]) -> list[FileNote]:
    """A warning for each file whose name speaks of validation or test, and that is for no split."""
    notes = []
    for place, file in enumerate(files):
        words = splits_in_name(file.name)
        if file.split is None and set(words) & {"validation", "test"} and not _has_split_column(file):
            flag = f"--{next(word for word in words if word != 'train')}-data"
            message = (
                f"its name says {' and '.join(words)}, which may be a split or not: its rows are split as the others "
                f"are, and most are trained on. If they are held out: {flag} {shlex.quote(file.name)}."
            )
            notes.append(FileNote(place, Finding("split_name_unused", message)))
    return notes


def _has_split_column(file: SourceFile) -> bool:
    flags = (flag_named(column) for column in file.columns)
    return any(map(is_split_column, file.columns)) or any(flag is not None and flag.is_certain for flag in flags)


def _refuse_own_splits(part: Source, setting: str) -> None:
    own = sorted({file.split for file in _declared(part.files) if file.split is not None})
    if own:
        raise SourceError(
            f"{part.name} declares splits of its own ({', '.join(own)}); {setting} takes examples of one split.",
            hint="Name the files of that split alone; or name all of it as the source, which keeps its splits.",
        )


def _of_split(files: Sequence[SourceFile], split: str | None, split_by: str) -> list[SourceFile]:
    return [replace(file, split=split, split_by=split_by) for file in files]


def _identity(file: SourceFile) -> str | Path:
    return file.name if "://" in file.name else Path(file.name).expanduser().resolve()


def _refuse_both(parts: Sequence[Source]) -> None:
    if len(parts) < 2:
        return
    validation, test = parts
    of_test = {_identity(file) for file in test.files}
    for file in validation.files:
        if _identity(file) in of_test:
            raise SourceError(
                f"{file.name} is named by data.validation_source and by data.test_source.",
                hint="Name it for one of them; --validation 0 or --test 0 leaves the other out.",
            )
