"""How conversations are built from a table with one message per row, as a section of the settings."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retune.choices import ConversationStart


class MessageRowsConfig(BaseModel):
    """Columns of a table with one message per row; what is not named is found by names and content, and shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)

    conversation_column: str | None = Field(
        None, min_length=1, description="One message per row: column that identifies the conversation."
    )
    role_column: str | None = Field(
        None, min_length=1, description="One message per row: column that says who wrote it."
    )
    text_column: str | None = Field(None, min_length=1, description="One message per row: column with the text.")
    time_column: str | None = Field(
        None, min_length=1, description="One message per row: column with a time or number that orders the messages."
    )
    day_first: bool | None = Field(
        None,
        description="One message per row: whether dates such as 3/4/2025 start with the day; by default a number above "
        "12 decides.",
    )
    assistant_role: str | None = Field(
        None,
        min_length=1,
        description="One message per row: values of the role column that mean the assistant, separated by commas.",
    )
    conversation_start: ConversationStart = Field(
        ConversationStart.AUTO, description="One message per row: where the next conversation starts."
    )
    pause_minutes: float = Field(
        30.0,
        gt=0,
        le=525_600,
        description="One message per row: minutes of silence after which a conversation ends.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: object) -> object:
        return {} if value is None else value

    @property
    def names_columns(self) -> bool:
        """Whether the user said, in any way, that a row is a message."""
        return any((self.conversation_column, self.role_column, self.text_column, self.assistant_role))
