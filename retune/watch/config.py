"""How data is watched, as one validated and serialisable value; Prefect draws its run form from it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class CountMethod(StrEnum):
    """How new examples are counted once a source has changed.

    `content`: the source is read, and an example is new if no example of the last announcement had the same content.
    `rows`: nothing is read but the watermark query, whose first column is the number of rows: for large tables.
    """

    CONTENT = "content"
    ROWS = "rows"


class WatchConfig(BaseModel):
    """When changed data is worth a training."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    min_new_examples: int = Field(
        1, ge=1, le=1_000_000_000, description="Announce once there are this many new examples; fewer wait for more."
    )
    quiet_seconds: float = Field(
        60.0, ge=0, le=86_400, description="Data counts as complete once it has looked the same for this many seconds."
    )
    watermark_query: str | None = Field(
        None,
        min_length=1,
        description="For databases: a cheap query whose result changes with the data, such as "
        "SELECT count(*), max(updated_at) FROM tickets. Empty: the rows themselves are hashed.",
    )
    count: CountMethod = Field(
        CountMethod.CONTENT,
        description="content: read the changed data and compare examples; rows: trust the number of rows that the "
        "first column of watermark_query gives, and read nothing.",
    )
