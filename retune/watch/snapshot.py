"""What a source looks like from outside: enough to tell whether it is what it was, and cheap."""

import hashlib
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict
from xxhash import xxh3_128_intdigest

from retune.config import DataConfig
from retune.data.example.example import canonical_json
from retune.data.sources.blocks import Row
from retune.data.sources.files.found_files import FoundFile
from retune.data.sources.files.locations import list_files
from retune.errors import ConfigError, EmptySourceError, SourceError
from retune.redaction.addresses import without_secrets
from retune.watch.config import CountMethod, WatchConfig

_CHUNK_BYTES = 1 << 20
_MOST_CELLS_SHOWN = 3
_LONGEST_CELL = 60
_ROWS_MODULUS = 1 << 128
_FILES_ALONE = WatchConfig()


class SourceSnapshot(BaseModel):
    """What a source looks like from outside.

    Attributes:
        source: What people call it, without secrets.
        fingerprint: Hex digits that differ once data was added, changed or removed; empty where the source is empty.
        what: What was seen, for people: "3 files, 12,345 bytes".
        n_rows: Number of rows, where the watermark query is asked for it.
        beside_rows: Hash of the rest of the watermark; empty where there is none.
        is_cheap: Whether another snapshot costs next to nothing.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    fingerprint: str
    what: str
    n_rows: int | None = None
    beside_rows: str = ""
    is_cheap: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether the source is there, and nothing is in it."""
        return not self.fingerprint


def take_snapshot(data: DataConfig, watch: WatchConfig) -> SourceSnapshot:
    """Look at a source from outside, and at the sources that are named for its validation and test splits.

    Files are listed, and read only where their file system knows neither a time nor a checksum. Of a database it is
    the watermark query's result; without such a query, every row of the source's own query is hashed, in any order.

    Raises:
        ConfigError: The settings don't fit the source.
        SourceError: The source isn't there, or doesn't answer. An empty source is not an error.
    """
    held_out = [
        _look_at_one(data.model_copy(update={"source": place, "query": None}), _FILES_ALONE)
        for place in data.held_out_sources.values()
    ]
    snapshot = _look_at_one(data, watch)
    if not held_out or snapshot.is_empty:
        return snapshot
    together = hashlib.sha256(canonical_json([snapshot.fingerprint, *(other.fingerprint for other in held_out)]))
    what = "; ".join([snapshot.what, *(f"{other.source}: {other.what}" for other in held_out)])
    is_cheap = all(other.is_cheap for other in (snapshot, *held_out))
    return snapshot.model_copy(update={"fingerprint": together.hexdigest(), "what": what, "is_cheap": is_cheap})


def _look_at_one(data: DataConfig, watch: WatchConfig) -> SourceSnapshot:
    name = without_secrets(data.source)
    is_query = _is_query(data)
    if watch.watermark_query is not None and not is_query:
        raise ConfigError(f"watermark_query needs a database, but the source is {name}.", hint="Leave it empty.")
    if watch.count is CountMethod.ROWS and watch.watermark_query is None:
        raise ConfigError(
            "The count method rows needs watermark_query, a query whose first column is the number of rows.",
            hint="Write one, such as SELECT count(*), max(updated_at) FROM tickets; or count by content.",
        )
    try:
        if not is_query:
            return _look_at_files(name, list_files(data.source, data.format, follow_links=data.follow_links))
        return _look_at_watermark(name, data, watch) if watch.watermark_query else _look_at_rows(name, data)
    except EmptySourceError as error:
        return SourceSnapshot(source=name, fingerprint="", what=error.message)


def fingerprint_of_files(files: Iterable[tuple[str, int | None, str]]) -> str:
    """Hash what is known of files.

    Args:
        files: Of each its path below the source, its size in bytes, and its version; their order doesn't matter.
    """
    digest = hashlib.sha256(b"files")
    for file in sorted(files, key=lambda file: file[0]):
        digest.update(canonical_json(file) + b"\n")
    return digest.hexdigest()


def fingerprint_of_rows(rows: Iterable[Row]) -> tuple[str, int]:
    """Hash what is in rows, whatever their order: a database promises none.

    Returns:
        The hash, and the number of rows.
    """
    total = n_rows = 0
    for row in rows:
        total = (total + xxh3_128_intdigest(canonical_json(row.values))) % _ROWS_MODULUS
        n_rows += 1
    return hashlib.sha256(b"rows %d %d" % (n_rows, total)).hexdigest(), n_rows


def _is_query(data: DataConfig) -> bool:
    if data.query is None and "://" not in data.source and not data.source.startswith("${"):
        return False
    from retune.data.sources.databases.query import is_database  # noqa: PLC0415  (imports SQLAlchemy)

    return data.query is not None or is_database(data.source)


def _look_at_files(name: str, files: list[FoundFile]) -> SourceSnapshot:
    known = [(file.relative, file.size, file.version or f"sha256 {_sha256(file)}") for file in files]
    n_bytes = sum(file.size or 0 for file in files)
    what = f"{len(files):,} file{'' if len(files) == 1 else 's'}, {n_bytes:,} bytes"
    is_cheap = all(file.version for file in files)
    return SourceSnapshot(source=name, fingerprint=fingerprint_of_files(known), what=what, is_cheap=is_cheap)


def _sha256(file: FoundFile) -> str:
    digest = hashlib.sha256()
    try:
        with file.open() as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except Exception as error:  # noqa: BLE001  (every file system has errors of its own)
        # Its text may repeat the address and what is secret in it.
        raise SourceError(f"{file.name} can't be read: {type(error).__name__}.") from None
    return digest.hexdigest()


def _look_at_watermark(name: str, data: DataConfig, watch: WatchConfig) -> SourceSnapshot:
    rows = list(_rows(data.model_copy(update={"query": watch.watermark_query})))
    fingerprint, _ = fingerprint_of_rows(rows)
    first, *others = rows[0].values.values()
    shown = ", ".join(f"{key} = {_short(value)}" for key, value in list(rows[0].values.items())[:_MOST_CELLS_SHOWN])
    if watch.count is not CountMethod.ROWS:
        return SourceSnapshot(source=name, fingerprint=fingerprint, what=f"watermark: {shown}")
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise ConfigError(
            f"The first column of watermark_query is not a number of rows; it gave {type(first).__name__}.",
            hint="Put count(*) first; or count by content.",
        )
    return SourceSnapshot(
        source=name,
        fingerprint=fingerprint if first else "",
        what=f"watermark: {shown}",
        n_rows=first,
        beside_rows=hashlib.sha256(canonical_json(others)).hexdigest() if others else "",
    )


def _short(value: object) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[:_LONGEST_CELL])
    return text if len(str(value)) <= _LONGEST_CELL else f"{text}…"


def _look_at_rows(name: str, data: DataConfig) -> SourceSnapshot:
    fingerprint, n_rows = fingerprint_of_rows(_rows(data))
    what = f"{n_rows:,} row{'' if n_rows == 1 else 's'}"
    return SourceSnapshot(source=name, fingerprint=fingerprint, what=what, is_cheap=False)


def _rows(data: DataConfig) -> Iterator[Row]:
    from retune.data.sources.databases.query import open_query  # noqa: PLC0415  (imports SQLAlchemy)

    for block in open_query(data).blocks():
        yield from block.rows()
