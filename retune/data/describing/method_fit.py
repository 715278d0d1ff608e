"""Saying clearly that a source is meant for another training method than the one that a run trains by."""

from collections.abc import Iterator
from contextlib import contextmanager

from retune.config import DataConfig, SplitConfig
from retune.data.examples import Method
from retune.data.shapes.detect import choose_shape
from retune.data.shapes.shape import Shape
from retune.data.sources.open import open_source
from retune.errors import DataError, SourceError


@contextmanager
def explaining_method(data: DataConfig, split: SplitConfig, method: Method) -> Iterator[None]:
    """Read a source for one method in the block; if that fails, look whether it is for another one.

    Raises:
        DataError: It holds examples for another method.
        SourceError: As the block raised it.
    """
    try:
        yield
    except SourceError:
        found = _shape_of(data, split)
        if found is None or found.method == method:
            raise
        raise DataError(
            f"{data.source} holds examples for the training method {found.method} ({found.title}); `retune run` trains "
            f"by the method {method} for now.",
            hint=f"`retune check --method {found.method}` checks them. If they are meant otherwise, name the columns "
            "or --shape.",
        ) from None


def _shape_of(data: DataConfig, split: SplitConfig) -> Shape | None:
    try:
        return choose_shape(open_source(data), data, split, None)
    except DataError:
        return None
