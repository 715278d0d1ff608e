"""Which columns most likely hold a question and its answer, for the hint where their names leave it in doubt."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retune.data.blocks import Source
from retune.data.shapes.column_names import MESSAGES, listed
from retune.data.shapes.known_columns import names_of
from retune.data.shapes.logs import find_log
from retune.data.shapes.structures import structure_in
from retune.errors import SourceError

_ASKS = (
    *("question", "questions", "query", "prompt", "user", "customer", "client", "human", "request", "ask", "asked"),
    *("input", "instruction", "problem", "inquiry"),
    *("質問", "問い", "ユーザ", "顧客", "お客", "入力", "依頼", "问题", "問題", "提问", "用户", "客户", "输入", "咨询"),
)
_ANSWERS = (
    *("answer", "answers", "response", "assistant", "reply", "bot", "agent", "output", "completion", "solution"),
    *("label", "category", "intent", "answered", "target"),
    *(
        "回答",
        "返信",
        "返答",
        "応答",
        "答え",
        "出力",
        "オペレータ",
        "答案",
        "回复",
        "回覆",
        "答复",
        "输出",
        "客服",
        "助手",
    ),
)
_OTHER = {
    *("id", "ids", "uid", "uuid", "date", "time", "timestamp", "created", "updated", "at", "url", "link", "email"),
    *("count", "index", "number", "num", "no", "role", "sender", "speaker", "author", "name", "type", "lang"),
    *("language", "model", "status", "score", "rating", "file", "path", "key", "talker", "version", "tokens"),
}
_OTHER_SIGNS = ("番号", "日時", "日付", "氏名", "名前", "编号", "序号", "时间", "日期", "姓名", "編號")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_EXACT, _LIKE = 2, 1
# So many of the first cells must be words.
_SHARE = 0.5
_LETTER = re.compile(r"[^\W\d_]")
_ADDRESS = re.compile(r"\s*(?:\w+://\S+|[\w.+-]+@[\w.-]+)\s*")


def unknown_columns(source: Source, rows: Sequence[Mapping[str, Any]]) -> SourceError:
    """The error for a source whose columns say too little, with the flags that would say more."""
    request, answer = find_log(rows, source.columns)
    found = f"{source.name} has the columns: {listed(source.columns)}."
    if request is not None and answer is None:
        return SourceError(
            f"{found} {request} holds requests, and no column their answers.",
            hint="Put each answer beside its request, in a column response. Of a batch, the output file has them: join "
            "both files by custom_id.",
        )
    if answer is not None and request is None:
        return SourceError(
            f"{found} {answer} holds answers, and no column what was asked.",
            hint="Put each request beside its answer, in a column request. Of a batch, the input file has them: join "
            "both files by custom_id.",
        )
    question = f"{found} Which holds what the user says, and which the answer?"
    return SourceError(question, hint=_how_to_name(source.columns, rows))


def likely_pair(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The likeliest question and answer by names and contents; None where two are as likely, or none is likely."""
    texts = [column for column in columns if not _is_something_else(column) and _holds_words(column, rows)]
    asked, answered = _best(texts, _ASKS, are_answers=False), _best(texts, _ANSWERS, are_answers=True)
    return None if asked is None or answered is None or asked == answered else (asked, answered)


def _how_to_name(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    ready = f'or keep ready conversations in a column "{MESSAGES}".'
    likely = likely_pair(columns, rows)
    if likely is None:
        return f"Name them with --user-column and --assistant-column; {ready}"
    user, assistant = map(shlex.quote, likely)
    return f"Name them, most likely --user-column {user} --assistant-column {assistant}; {ready}"


def _best(columns: Sequence[str], words: Sequence[str], *, are_answers: bool) -> str | None:
    exact = names_of(columns, are_answers=are_answers)
    scores = {
        column: _EXACT if column in exact else _LIKE for column in columns if column in exact or _has(column, words)
    }
    best = [column for column, score in scores.items() if score == max(scores.values())]
    return best[0] if len(best) == 1 else None


def _has(column: str, words: Sequence[str]) -> bool:
    parts = set(_words(column))
    return any(word in parts if word.isascii() else word in column for word in words)


def _is_something_else(column: str) -> bool:
    return not _OTHER.isdisjoint(_words(column)) or any(sign in column for sign in _OTHER_SIGNS)


def _words(column: str) -> Iterator[str]:
    return (found.group().lower() for found in _WORD.finditer(column))


def _holds_words(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    cells = [row[column] for row in rows if row.get(column) not in (None, "")]
    texts = [cell for cell in cells if isinstance(cell, str) and _is_words(cell)]
    return bool(cells) and len(texts) >= _SHARE * len(cells)


def _is_words(cell: str) -> bool:
    return bool(_LETTER.search(cell)) and not _ADDRESS.fullmatch(cell) and structure_in(cell) is None
