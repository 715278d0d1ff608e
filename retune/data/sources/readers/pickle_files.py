"""Pickled pandas tables: read whole, as a pickle can't be read otherwise."""

from collections.abc import Generator, Iterator

from retune.config import SourceFormat
from retune.data.sources.blocks import Block, Row
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.reader import FileReader, blocks_of_rows, unique_columns
from retune.data.sources.readers.safe_unpickler import read_pickled_rows


class PickleReader(FileReader):
    """A pickled `pandas.DataFrame`. It is read twice, so that it isn't kept between looking at it and reading it.

    Args:
        location: The file.
        trust: Let it run whatever code it holds.

    Raises:
        SourceError: It can't be read, or isn't a table.
    """

    def __init__(self, location: Location, *, trust: bool) -> None:
        super().__init__(location, SourceFormat.PICKLE, "row")
        self._trust = trust
        columns, _ = read_pickled_rows(location, trust=trust)
        self.columns = unique_columns(columns, location.name)

    def blocks(self, file: int) -> Generator[Block, None, None]:
        """Read the whole file; see `FileReader`."""
        columns, rows = read_pickled_rows(self.location, trust=self._trust)
        if unique_columns(columns, self.location.name) != self.columns:
            raise self.changed()
        size = self.location.size or 0
        yield from blocks_of_rows(self._counted(rows), file, lambda read: min(read, size), file_bytes=size)

    def _counted(self, rows: Iterator[tuple[Row, int]]) -> Iterator[tuple[Row, int]]:
        """Rows may share what they hold, which is written for each of them."""
        total = 0
        for row, size in rows:
            total += size
            self.location.bounds.count(self.location.name, total, self.location.size)
            yield row, size
