"""The names that columns of training data usually have."""

from collections.abc import Sequence
from typing import NamedTuple

from retune.data.formats.column_names import MESSAGES, find_column
from retune.data.formats.templates import ColumnText, JoinedColumns, TextSource

CONVERSATIONS = (
    MESSAGES,
    "message",
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "dialogs",
    "chat",
    "turns",
    "thread",
    "contents",
    "对话",
    "会话",
    "会話",
    "対話",
)

PROVENANCE = {
    *("id", "uuid", "idx", "index", "source", "meta", "metadata", "model", "language", "lang", "date", "timestamp"),
    *("created_at", "user_id", "session_id", "conversation_id", "thread_id", "ticket_id"),
}
"""Columns that say where a conversation is from, and nothing that an answer could be compared with."""

_PREFERENCES = (
    ("preferred_output", "non_preferred_output"),
    # The API's names until July 2025.
    ("preferred_completion", "non_preferred_completion"),
    # TRL's, and those of most data sets on Hugging Face.
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    # Those made of Stack Exchange's, in which j has more votes.
    ("response_j", "response_k"),
)
_PROMPTS = ("input", "prompt", "question", "instruction", *CONVERSATIONS)
_QUESTIONS = (
    *("question", "query", "prompt", "user", "input", "inputs", "request", "instruction"),
    *("質問", "問い", "問合せ", "問い合わせ", "入力", "指示", "问题", "提问", "輸入", "输入", "指令", "問題"),
)
_ANSWERS = (
    *("answer", "response", "assistant", "output", "outputs", "completion", "reply", "targets"),
    *("回答", "答え", "返答", "応答", "返信", "出力", "答案", "回复", "回覆", "输出", "輸出", "答复"),
)
_ABOUT = ("input", "context", "question", "query", "输入", "入力")
_TEXTS = ("text", "message", "sentence", "utterance", "本文", "文章", "テキスト", "文本", "内容")
_LABELS = (
    "label",
    "labels",
    "category",
    "intent",
    "class",
    "ラベル",
    "分類",
    "カテゴリ",
    "标签",
    "類別",
    "类别",
    "分类",
)
_SYSTEM = (
    *("system", "system_prompt", "system_message", "systeminstruction", "system_instruction", "preamble"),
    *("システム", "系统", "系统提示"),
)
_HISTORY = ("history", "chat_history", "conversation_history", "previous_turns", "履歴", "历史", "历史对话", "対話履歴")


class Pair(NamedTuple):
    """Columns that are a question and its answer by their names."""

    user: TextSource
    assistant: ColumnText


class Preference(NamedTuple):
    """The columns of a preference pair.

    Attributes:
        prompt: The conversation, as the API's `input`, as messages or as the user's text; None where both answers are
            whole conversations.
        preferred: The answer to prefer, as messages or text.
        non_preferred: The answer to avoid.
        about: Beside an instruction, what it is about; None where the prompt stands alone.
    """

    prompt: str | None
    preferred: str
    non_preferred: str
    about: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All that every pair needs."""
        return tuple(name for name in self[:3] if name is not None)


def find_preference(columns: Sequence[str]) -> Preference | None:
    """The columns of a preference pair; None where they are not there."""
    for names in _PREFERENCES:
        preferred, non_preferred = (find_column(columns, name) for name in names)
        if preferred is not None and non_preferred is not None:
            instruction, about = find_instruction(columns) or (next(iter(_among(columns, _PROMPTS)), None), None)
            return Preference(instruction, preferred, non_preferred, about)
    return None


def find_instruction(columns: Sequence[str]) -> tuple[str, str] | None:
    """What is asked for and what it is about, as Alpaca and Dolly have them, where nothing else could be asked."""
    instruction, about = (_among(columns, names) for names in (("instruction", "指令"), _ABOUT))
    if len(instruction) == 1 and len(about) == 1 and set(_among(columns, _QUESTIONS)) <= {*instruction, *about}:
        return instruction[0], about[0]
    return None


def find_system(columns: Sequence[str], *, is_request: bool = False) -> str | None:
    """The column with a system prompt; the first by the usual names.

    Args:
        columns: The columns.
        is_request: They are a request's; the Responses API calls it `instructions`.
    """
    return next(iter(_among(columns, (*_SYSTEM, *(("instructions",) if is_request else ())))), None)


def find_history(columns: Sequence[str]) -> list[str]:
    """The columns whose names say that they hold earlier turns."""
    return _among(columns, _HISTORY)


def find_plain_answers(columns: Sequence[str]) -> list[str]:
    """The columns that hold what an assistant said, whatever stands beside them."""
    return _among(columns, ("assistant", "response", "completion", "output", "reply", "ideal", "expected_output"))


def find_plain_questions(columns: Sequence[str]) -> list[str]:
    """The columns that hold what a user said, whatever stands beside them; none where there are several."""
    found = _among(columns, _QUESTIONS)
    return found if len(found) == 1 else []


def names_of(columns: Sequence[str], *, are_answers: bool) -> list[str]:
    """The columns with the usual names of an answer or a label, or else of a question or a text."""
    return _among(columns, (*_ANSWERS, *_LABELS) if are_answers else (*_QUESTIONS, *_TEXTS))


def guess_pair(columns: Sequence[str]) -> Pair | None:
    """The columns of a question and its answer, or of a text and its label; None unless the names leave no doubt."""
    questions, answers = _among(columns, _QUESTIONS), _among(columns, _ANSWERS)
    asked = find_instruction(columns)
    if asked is not None and len(answers) == 1:
        return Pair(JoinedColumns(asked), ColumnText(answers[0]))
    if len(questions) == 1 and len(answers) == 1:
        return Pair(ColumnText(questions[0]), ColumnText(answers[0]))
    texts, labels = _among(columns, _TEXTS), _among(columns, _LABELS)
    if not questions and not answers and len(texts) == 1 and len(labels) == 1:
        return Pair(ColumnText(texts[0]), ColumnText(labels[0]))
    return None


def find_prompt(columns: Sequence[str]) -> TextSource | None:
    """What holds the user's words; None unless the names leave no doubt."""
    asked = find_instruction(columns)
    if asked is not None:
        return JoinedColumns(asked)
    found = _among(columns, (*_QUESTIONS, *_TEXTS))
    return ColumnText(found[0]) if len(found) == 1 else None


def _among(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of these names, whatever their case, in the order of the names."""
    return [column for name in names if (column := find_column(columns, name)) is not None]
