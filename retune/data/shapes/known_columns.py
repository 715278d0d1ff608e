"""The names that columns of training data usually have."""

from collections.abc import Sequence
from typing import NamedTuple

from retune.data.shapes.column_names import MESSAGES, find_column
from retune.data.shapes.templates import ColumnText, JoinedColumns, SystemPrompt, Template, TextSource

CONVERSATIONS = (MESSAGES, "conversations", "conversation", "thread", "dialog", "dialogue")

_PREFERENCES = (
    ("preferred_output", "non_preferred_output"),
    # The API's names until July 2025.
    ("preferred_completion", "non_preferred_completion"),
    # TRL's, and those of most data sets on Hugging Face.
    ("chosen", "rejected"),
)
_PROMPTS = ("input", "prompt", "question", "instruction", *CONVERSATIONS)
_QUESTIONS = ("question", "query", "prompt", "user", "input", "instruction")
_ANSWERS = ("answer", "response", "assistant", "output", "completion")
_TEXTS = ("text", "message", "sentence", "utterance")
_LABELS = ("label", "category", "intent", "class")
_SYSTEM = ("system", "system_prompt")


class Pair(NamedTuple):
    """Columns that are a question and its answer by their names."""

    user: TextSource
    assistant: ColumnText
    system: SystemPrompt


class Preference(NamedTuple):
    """The columns of a preference pair.

    Attributes:
        prompt: The conversation, as the API's `input`, as messages or as the user's text; None where both answers are
            whole conversations.
        preferred: The answer to prefer, as messages or text.
        non_preferred: The answer to avoid.
    """

    prompt: str | None
    preferred: str
    non_preferred: str

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in self if name is not None)


def find_preference(columns: Sequence[str]) -> Preference | None:
    """The columns of a preference pair; None where they are not there."""
    for names in _PREFERENCES:
        preferred, non_preferred = (find_column(columns, name) for name in names)
        if preferred is not None and non_preferred is not None:
            return Preference(next(iter(_among(columns, _PROMPTS)), None), preferred, non_preferred)
    return None


def guess_pair(columns: Sequence[str]) -> Pair | None:
    """The columns of a question and its answer, or of a text and its label; None unless the names leave no doubt."""
    system = next((SystemPrompt(template=Template((("", name),))) for name in _among(columns, _SYSTEM)), SystemPrompt())
    questions, answers = _among(columns, _QUESTIONS), _among(columns, _ANSWERS)
    instruction = find_column(columns, "instruction")
    if instruction is not None and len(answers) == 1:
        # Alpaca and Dolly: what is asked for, and what it is about.
        about = _among(columns, ("input", "context"))
        if len(about) == 1 and set(questions) <= {instruction, *about}:
            return Pair(JoinedColumns((instruction, *about)), ColumnText(answers[0]), system)
    if len(questions) == 1 and len(answers) == 1:
        return Pair(ColumnText(questions[0]), ColumnText(answers[0]), system)
    texts, labels = _among(columns, _TEXTS), _among(columns, _LABELS)
    if not questions and not answers and len(texts) == 1 and len(labels) == 1:
        return Pair(ColumnText(texts[0]), ColumnText(labels[0]), system)
    return None


def find_prompt(columns: Sequence[str]) -> str | None:
    """The column with what the user says; None unless the names leave no doubt."""
    found = _among(columns, (*_QUESTIONS, *_TEXTS))
    return found[0] if len(found) == 1 else None


def _among(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of these names, whatever their case, in the order of the names."""
    return [column for name in names if (column := find_column(columns, name)) is not None]
