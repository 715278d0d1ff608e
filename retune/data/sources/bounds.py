"""How much may be read of a source, and how much was: a few megabytes may be packed to unpack to terabytes."""

import time
from collections.abc import Callable

from retune.config import LimitsConfig
from retune.errors import SourceError

MEGABYTE, GIGABYTE = 10**6, 10**9
_MINUTE_SECONDS = 60

# What small files that unpack to many times their size may unpack to all the same, all of them together.
_HARMLESS_BYTES = 64 * MEGABYTE

MOST_COLUMNS = 16_384
"""As many as a spreadsheet has."""


class Bounds:
    """Counts what is read of a source, all its files together, and refuses what is beyond the limits.

    Args:
        limits: The user's.
        on_read: Called with `stored_bytes_read` whenever that grew; it may raise, to stop the reading.

    Attributes:
        row_bytes: Most bytes of one row, line or cell.
        pickle_bytes: Most memory that a pickle or a workbook may ask for.
        stored_bytes_read: How much was read, of the files as they are stored; what was read twice counts twice.
    """

    def __init__(self, limits: LimitsConfig | None = None, on_read: Callable[[int], None] = lambda _n: None) -> None:
        self._limits = limits or LimitsConfig()
        self._on_read = on_read
        self._sizes: dict[str, int] = {}
        self._beyond: dict[str, int] = {}
        self._total = self._total_beyond = 0
        self._ends_at = time.monotonic() + self._limits.max_minutes * _MINUTE_SECONDS
        self.row_bytes = self._limits.max_row_mb * MEGABYTE
        self.pickle_bytes = self._limits.max_pickle_mb * MEGABYTE
        self.stored_bytes_read = 0

    def count(self, name: str, unpacked: int, stored: int | None) -> None:
        """Count what a file holds, as far as it was read.

        Args:
            name: The file.
            unpacked: Its bytes, unpacked.
            stored: Its bytes as they are stored; None where it isn't packed.

        Raises:
            SourceError: That is beyond a limit.
        """
        self._on_read(self.stored_bytes_read)
        limits = self._limits
        if time.monotonic() > self._ends_at:
            raise SourceError(
                f"{name}: reading the source has taken more than {limits.max_minutes:g} minutes.",
                hint=_raise("max_minutes", "--max-minutes", f"{limits.max_minutes:g}"),
            )
        added = unpacked - self._sizes.get(name, 0)
        if added > 0:
            self._sizes[name] = unpacked
            self._total += added
        if self._total > limits.max_source_gb * GIGABYTE:
            raise SourceError(
                f"{name}: the source has more than {limits.max_source_gb:g} GB, unpacked.",
                hint=_raise("max_source_gb", "--max-source-gb", f"{limits.max_source_gb:g}"),
            )
        if stored is None:
            return
        beyond = max(0, unpacked - int(limits.max_unpacked_ratio * stored))
        self._total_beyond += max(0, beyond - self._beyond.get(name, 0))
        self._beyond[name] = max(beyond, self._beyond.get(name, 0))
        if beyond and self._total_beyond > _HARMLESS_BYTES:
            raise SourceError(
                f"{name} unpacks to more than {limits.max_unpacked_ratio:g} times its size: {stored:,} bytes to "
                f"{unpacked:,} and more.",
                hint=_raise("max_unpacked_ratio", "--max-unpacked-ratio", f"{limits.max_unpacked_ratio:g}"),
            )

    def row_too_large(self, place: str) -> SourceError:
        """The error for a row that is longer than `row_bytes`, or takes more once it is decoded."""
        limit = self._limits.max_row_mb
        return SourceError(f"{place} is longer than {limit} MB.", hint=_raise("max_row_mb", "--max-row-mb", str(limit)))

    def pickle_too_large(self, name: str) -> SourceError:
        """The error for a pickle that asks for more than `pickle_bytes`."""
        limit = self._limits.max_pickle_mb
        return SourceError(
            f"{name} takes more than {limit} MB of memory; a pickle can only be read whole.",
            hint=f"Save the table as Parquet; or {_raise('max_pickle_mb', '--max-pickle-mb', str(limit), 'raise')}",
        )

    def workbook_too_large(self, name: str) -> SourceError:
        """The error for a workbook that asks for more than `pickle_bytes`."""
        limit = self._limits.max_pickle_mb
        return SourceError(
            f"{name} takes more than {limit} MB of memory; a workbook can only be read whole.",
            hint="Delete what stands far below or right of its table, or save the sheet as CSV UTF-8; or "
            f"{_raise('max_pickle_mb', '--max-pickle-mb', str(limit), 'raise')}",
        )


class FileCount:
    """Counts one reading of a file.

    Args:
        bounds: What it counts towards.
        name: The file.
        stored: Its bytes as they are stored; None where that isn't known beforehand.
        is_packed: It holds more than is stored.
    """

    def __init__(self, bounds: Bounds, name: str, stored: int | None, *, is_packed: bool) -> None:
        self._bounds = bounds
        self._name = name
        self._stored = stored
        self._is_packed = is_packed
        self._stored_read = self._unpacked = 0

    def add_stored(self, n_bytes: int) -> None:
        """This many bytes were read, as they are stored."""
        self._stored_read += n_bytes
        self._bounds.stored_bytes_read += n_bytes

    def add_unpacked(self, n_bytes: int) -> None:
        """So many bytes came out.

        Raises:
            SourceError: That is beyond a limit.
        """
        self._unpacked += n_bytes
        stored = (self._stored or self._stored_read) if self._is_packed else None
        self._bounds.count(self._name, self._unpacked, stored)


def check_kept(name: str, limits: LimitsConfig, *, n_examples: int, n_bytes: int) -> None:
    """Refuse a source that became more examples, or takes more of the disk, than the limits allow.

    Args:
        name: The source.
        limits: The user's.
        n_examples: How many there are so far.
        n_bytes: What they take on disk so far.

    Raises:
        SourceError: It did.
    """
    if n_examples > limits.max_rows:
        raise SourceError(
            f"{name} has more than {limits.max_rows:,} examples.",
            hint=_raise("max_rows", "--max-rows", f"{limits.max_rows:,}"),
        )
    if n_bytes > limits.max_disk_gb * GIGABYTE:
        raise SourceError(
            f"{name}: its examples take more than {limits.max_disk_gb:g} GB of disk.",
            hint=_raise("max_disk_gb", "--max-disk-gb", f"{limits.max_disk_gb:g}"),
        )


def check_columns(count: int, name: str) -> None:
    """Refuse a table with more columns than any table has.

    Raises:
        SourceError: It has.
    """
    if count > MOST_COLUMNS:
        raise SourceError(
            f"{name} has {count:,} columns; at most {MOST_COLUMNS:,} can be read.",
            hint="Leave out those that no example needs.",
        )


def _raise(setting: str, flag: str, now: str, verb: str = "If it is meant to be, raise") -> str:
    return f"{verb} data.limits.{setting} ({flag}), which is {now} now."
