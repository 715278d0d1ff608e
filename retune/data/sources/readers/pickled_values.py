"""The values of a pickled table as plain Python values, a row at a time."""

from decimal import Decimal
from typing import Any

import numpy as np

from retune.data.sources.files.locations import Location
from retune.errors import SourceError

VALUE_BYTES = 64
"""About what a small value takes."""


class Room:
    """Makes plain values for one row. Rows may share theirs, and a list may hold the same one over and over.

    Args:
        location: The file.
        number: The row's.

    Attributes:
        taken: About how many bytes the row takes so far.
    """

    def __init__(self, location: Location, number: int) -> None:
        self._location = location
        self._number = number
        self.taken = 0

    def plain(self, value: object) -> Any:
        """The value as Python's own lists, dicts and numbers.

        Raises:
            SourceError: With it the row takes more than the bounds allow, or it is a number that can't be written.
        """
        if isinstance(value, np.ndarray | np.generic):
            self._take(value.size * VALUE_BYTES)
            value = value.tolist()
        if isinstance(value, str | bytes):
            self._take(len(value))
            return value
        self._take(VALUE_BYTES)
        if isinstance(value, dict):
            return {str(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, int | Decimal):
            return self._number_of(value)
        return [self.plain(item) for item in value] if isinstance(value, list | tuple) else value

    def _number_of(self, value: int | Decimal) -> object:
        try:
            str(value)
        except ValueError:
            raise SourceError(
                f"{self._location.name}, row {self._number}: a number has more digits than can be written."
            ) from None
        return value

    def _take(self, n_bytes: int) -> None:
        self.taken += n_bytes
        if self.taken > self._location.bounds.row_bytes:
            raise self._location.bounds.row_too_large(f"{self._location.name}, row {self._number}")
