"""What settings choose among, apart from the settings: the command line needs no more to explain itself."""

from enum import StrEnum
from typing import Literal

Auto = Literal["auto"]

# The base model that Retune's own server always has.
LOCAL_MODEL = "baseline-text"

# `retune up` names the address of its own server in it, for the flows that it runs.
OWN_SERVER_VARIABLE = "RETUNE_OWN_SERVER"

ProviderKind = Literal["openai", "azure", "retune", "other"]
"""The providers that differ in what they accept and what they bill; `retune` is the project's own server."""


class SourceFormat(StrEnum):
    """How the source is read; `auto` goes by the file's name. Any of them may be packed with gzip or zstd."""

    AUTO = "auto"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"
    EXCEL = "excel"
    ARROW = "arrow"
    PICKLE = "pickle"
    SQL = "sql"


class ExampleShape(StrEnum):
    """What a row of the source holds; `auto` goes by the names of the columns.

    `columns`: the user's words and the answer, each in a column of its own or put together by a template.
    `messages`: ready conversations. `completion`: the old prompt and completion, made into conversations.
    `preference`: a conversation with a preferred and a non-preferred answer (DPO). `reinforcement`: a conversation
    and whatever the grader needs.
    """

    AUTO = "auto"
    COLUMNS = "columns"
    MESSAGES = "messages"
    COMPLETION = "completion"
    PREFERENCE = "preference"
    REINFORCEMENT = "reinforcement"


class SplitMethod(StrEnum):
    """How examples are assigned to train, validation and test.

    `stable` goes by a keyed hash of each example's content, so an example never changes its split as the data grows;
    `random` is scikit-learn's shuffle; `group` is `stable` by a column's value, so that rows which share it stay
    together; `column` reads the split from a column.
    """

    STABLE = "stable"
    RANDOM = "random"
    GROUP = "group"
    COLUMN = "column"


class ConversationStart(StrEnum):
    """Where one conversation ends and the next begins, in a table with one message a row.

    `auto`: by the column that tells the conversation; without one, at each system message where there are several, else
    after long pauses where times show at least ten, else at each question. `whole`: never within one value of the
    conversation's column, or one file. `system`: at each system message. `pause`: after `pause_minutes` without a
    message. `question`: where the user speaks after an answer.
    """

    AUTO = "auto"
    WHOLE = "whole"
    SYSTEM = "system"
    PAUSE = "pause"
    QUESTION = "question"
