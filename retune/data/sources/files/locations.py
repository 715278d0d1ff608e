"""Finds the files of a source: one file, a folder, a pattern or an address."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from retune.config import LimitsConfig, SourceFormat
from retune.data.sources.blocks import UnreadFile
from retune.data.sources.bounds import Bounds, FileCount
from retune.data.sources.files.compression import (
    HEAD_BYTES,
    PACKED_SUFFIXES,
    Packing,
    damaged,
    is_cut_in_its_mark,
    open_stream,
    packing_of,
)
from retune.data.sources.files.found_files import FORMAT_BY_SUFFIX, FoundFile, choose_files, has_wildcard, saved_splits
from retune.data.sources.files.local import explain_os_error, find_local_files
from retune.data.sources.split_names import splits_of_files
from retune.errors import EmptySourceError, SourceError
from retune.redaction.addresses import Address

if TYPE_CHECKING:
    from retune.data.sources.files.remote import RemoteFiles

__all__ = ["FORMAT_BY_SUFFIX", "SQLITE", "Location", "find_files", "list_files"]

SQLITE = b"SQLite format 3\0"
"""What such a database starts with."""


@dataclass(frozen=True, slots=True)
class Location:
    """One file, wherever it is, perhaps packed with gzip or zstd.

    Attributes:
        name: What people call it: its path as the user wrote it, or its address without secrets.
        size: As it is stored, in bytes; None where that isn't known beforehand.
        packing: How it is packed, by its first bytes.
        suffix: The ending that says its format, in lower case: ".csv" of "tickets.csv.gz".
        path: Where it is on this machine; None elsewhere.
        bounds: How much may be read of it and its source.
        archived_bytes: What it takes in the archive that it is in; None where it is in none.
        split: The split that its place or its name says; see `SourceFile.split`.
        split_by: What says so, for people.
        is_tried: See `FoundFile.is_tried`.
    """

    name: str
    size: int | None
    packing: Packing | None
    suffix: str
    path: Path | None
    _open_stored: Callable[[], BinaryIO] = field(repr=False, compare=False)
    _explain: Callable[[Exception], SourceError] = field(repr=False, compare=False)
    bounds: Bounds = field(repr=False, compare=False)
    archived_bytes: int | None = None
    split: str | None = None
    split_by: str = ""
    is_tried: bool = False

    def open(self, on_read: Callable[[int], None] | None = None) -> BinaryIO:
        """Open it from its start, unpacked and buffered.

        It seeks unless it is packed, or comes from a server that sends files only as a whole: ask `seekable()`.

        Args:
            on_read: Called with the number of bytes whenever some of the file, as it is stored, were read.

        Raises:
            SourceError: It can't be opened. Reading it raises one too, where it can't be read on, where a packed
                file is cut off or damaged, or where it is more than the bounds allow.
        """
        is_packed = self.packing is not None or self.archived_bytes is not None
        stored = self.size if self.archived_bytes is None else self.archived_bytes
        count = FileCount(self.bounds, self.name, stored, is_packed=is_packed)

        def tell(n_bytes: int) -> None:
            count.add_stored(n_bytes)
            if on_read is not None:
                on_read(n_bytes)

        return open_stream(
            self._open_stored, self._explain, self.name, self.packing, on_read=tell, on_unpacked=count.add_unpacked
        )


def find_files(
    source: str,
    source_format: SourceFormat,
    limits: LimitsConfig | None = None,
    *,
    follow_links: bool = False,
    on_read: Callable[[int], None] = lambda _n: None,
    on_unread: Callable[[UnreadFile], None] = lambda _file: None,
) -> list[Location]:
    """Find the files that a source consists of.

    A folder means all data files in it and below, and a pattern those that match it: files with a known ending, or the
    one of `source_format`, without metadata; and those to be tried whose name says nothing. If a pattern matches none
    of them, all that it matches count, so that a reader can say what is wrong with them.

    Args:
        source: A file, a folder, a pattern (`data/*.csv`, `**` for any depth) or an address; `~` and `${NAME}` count.
        source_format: The format that the user named, or auto.
        limits: How much may be read, of all the files together.
        follow_links: Read what is outside of the folder that a link in it leads to.
        on_read: Called with the bytes read so far whenever some of a file was read; it may raise, to stop the reading.
        on_unread: Called with each file of a folder or pattern that is left out.

    Returns:
        At least one file, in order of their paths.

    Raises:
        SourceError: There is none, one is empty or can't be read, or the package for such addresses is missing.
    """
    address = Address.of(source)
    files, remote = _list(address, source_format, follow_links=follow_links, on_unread=on_unread)
    bounds = Bounds(limits, on_read)
    heads = [_head(file) for file in files] if remote is None else remote.heads(files)
    explain = explain_os_error if remote is None else remote.explain
    pairs = zip(files, heads, strict=True)
    located = [_located(file, head, partial(explain, file.name), bounds) for file, head in pairs]
    return [
        replace(location, split=split, split_by="file names") if split and location.split is None else location
        for location, split in zip(located, splits_of_files([file.relative for file in files]), strict=True)
    ]


def list_files(source: str, source_format: SourceFormat, *, follow_links: bool = False) -> list[FoundFile]:
    """List the files that a source consists of, and open none of them; otherwise as `find_files`."""
    return _list(Address.of(source), source_format, follow_links=follow_links)[0]


def _list(
    address: Address,
    wanted: SourceFormat,
    *,
    follow_links: bool,
    on_unread: Callable[[UnreadFile], None] = lambda _file: None,
) -> "tuple[list[FoundFile], RemoteFiles | None]":
    """The files, and what reads them where they are not of this machine."""
    address = _inside_archive(address)
    if address.scheme in ("", "file", "local"):
        path = _local_path(address) if address.scheme else address.expanded
        found, is_single = find_local_files(address.written, path, follow_links=follow_links)
        return _chosen(found, address.written, wanted, on_unread, is_single=is_single), None
    from retune.data.sources.files.remote import RemoteFiles  # noqa: PLC0415  (fsspec is slow to import)

    remote = RemoteFiles(address)
    found, is_single = remote.find()
    return _chosen(found, address.name, wanted, on_unread, is_single=is_single), remote


def _inside_archive(address: Address) -> Address:
    """An archive of this machine stands for the files in it."""
    suffixes = PurePosixPath(address.expanded.lower()).suffixes
    kind = "zip" if suffixes[-1:] == [".zip"] else "tar"
    is_tar = suffixes[-1:] in ([".tar"], [".tgz"], [".tbz2"]) or suffixes[-2:-1] == [".tar"]
    if address.scheme or not (kind == "zip" or is_tar) or not Path(address.expanded).expanduser().is_file():
        return address
    return Address.of(f"{kind}:///::{address.written}")


def _chosen(
    files: list[FoundFile],
    name: str,
    wanted: SourceFormat,
    on_unread: Callable[[UnreadFile], None],
    *,
    is_single: bool,
) -> list[FoundFile]:
    """Leave out what is not a data file; make sure that something is left, and that nothing of it is empty."""
    if not is_single:
        is_folder = not has_wildcard(name)
        splits = saved_splits(files)
        chosen, unread = choose_files(files, wanted, is_folder=is_folder)
        if not chosen and is_folder:
            raise no_data_file(name, wanted, unread)
        if chosen:
            files = [replace(file, split=splits.get(file.relative.rpartition("/")[0])) for file in chosen]
            for left_out in unread:
                on_unread(left_out)
    for file in files:
        if file.fault is not None:
            raise file.fault
        if file.size == 0:
            kind, hint = (EmptySourceError, None) if is_single else (SourceError, "Fill it, or move it elsewhere.")
            raise kind(f"{file.name} is empty.", hint=hint)
    return files


def no_data_file(name: str, wanted: SourceFormat, unread: list[UnreadFile]) -> EmptySourceError:
    """The error for a folder of which nothing can be read.

    Args:
        name: The folder.
        wanted: The format that the user named, or auto.
        unread: What is in it.
    """
    known = [suffix for suffix, kind in FORMAT_BY_SUFFIX.items() if wanted in (SourceFormat.AUTO, kind)]
    likely = next((file for file in unread if file.may_hold_examples), None)
    return EmptySourceError(
        f"There is no data file in {name}; known endings are {', '.join(known)}.",
        hint=None if likely is None else f"{likely.name}: {likely.reason}.",
    )


def _located(file: FoundFile, head: bytes, explain: Callable[[Exception], SourceError], bounds: Bounds) -> Location:
    if head == SQLITE and not file.is_tried:
        address = f"sqlite:///{file.name}" if file.path else "sqlite:///PATH"
        raise SourceError(
            f"{file.name} is a SQLite database by its first bytes.", hint=f"Read it by its address: {address}"
        )
    named = PACKED_SUFFIXES.get(file.packed_suffix)
    if named and not file.is_tried and is_cut_in_its_mark(head, named):
        raise damaged(file.name, named, f"it has {len(head)} bytes")
    packing, archived = packing_of(head), file.archived_bytes
    return Location(
        *(file.name, file.size, packing, file.suffix, file.path, file.open, explain, bounds, archived, file.split),
        split_by="folders of the data set" if file.split else "",
        is_tried=file.is_tried,
    )


def _head(file: FoundFile) -> bytes:
    try:
        with file.open() as stream:
            return bytes(stream.read(HEAD_BYTES))
    except OSError as error:
        raise explain_os_error(file.name, error) from None


def _local_path(address: Address) -> str:
    """The path of a file:// address, whose special characters are escaped (RFC 8089)."""
    parts = urlsplit(address.expanded)
    if parts.netloc not in ("", "localhost"):
        raise SourceError(
            f"{address.name} names the machine {parts.netloc}; expected file:///PATH, with three slashes.",
            hint="Or give the path alone.",
        )
    return url2pathname(address.expanded.split("://", 1)[1].removeprefix(parts.netloc))
