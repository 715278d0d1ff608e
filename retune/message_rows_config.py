"""How a table with one message a row is put together to conversations, as one validated and serialisable value."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retune.choices import ConversationStart


class MessageRowsConfig(BaseModel):
    """Columns of a table with one message a row; what is not named is found by names and content, and shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)

    conversation_column: str | None = Field(
        None, min_length=1, description="Column that tells which conversation a message belongs to."
    )
    role_column: str | None = Field(None, min_length=1, description="Column that tells who wrote the message.")
    text_column: str | None = Field(None, min_length=1, description="Column with what the message says.")
    time_column: str | None = Field(
        None, min_length=1, description="Column with a time or number by which messages are put in order."
    )
    day_first: bool | None = Field(
        None, description="In dates such as 3/4/2025, whether the day comes first; default: where a number above 12 is."
    )
    assistant_role: str | None = Field(
        None,
        min_length=1,
        description="What the role's column says where the assistant speaks; several, separated by commas.",
    )
    conversation_start: ConversationStart = Field(
        ConversationStart.AUTO, description="Where the next conversation begins."
    )
    pause_minutes: float = Field(
        30.0, gt=0, le=525_600, description="Start a new conversation after so many minutes without a message."
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def names_columns(self) -> bool:
        """Whether the user said, in any way, that a row is a message."""
        return any((self.conversation_column, self.role_column, self.text_column, self.assistant_role))
