"""Which columns most likely hold a question and its answer, for the hint where their names leave it in doubt."""

import re
import shlex
from collections.abc import Iterator, Sequence

from retune.data.formats.cells import structure_in, structures_in
from retune.data.formats.column_names import MESSAGES, field_value, find_column, listed_columns
from retune.data.formats.export_advice import advice_on_export
from retune.data.formats.foreign_messages import read_turn
from retune.data.formats.known_columns import names_of
from retune.data.formats.logs import find_log
from retune.data.formats.transcripts import CALLS_IN_TEXT
from retune.data.sources.blocks import Source
from retune.errors import SourceError
from retune.training_lines.keys import JsonMapping

_ASKS = (
    *("question", "questions", "query", "prompt", "user", "customer", "client", "human", "request", "ask", "asked"),
    *("input", "instruction", "problem", "inquiry", "body", "email", "article", "document", "dialogue", "source"),
    *("description",),
    *("質問", "問い", "ユーザ", "顧客", "お客", "入力", "依頼", "问题", "問題", "提问", "用户", "客户", "输入", "咨询"),
)
_ANSWERS = (
    *("answer", "answers", "response", "assistant", "reply", "bot", "agent", "output", "completion", "solution"),
    *("label", "category", "intent", "answered", "target", "summary", "highlights", "translation", "ideal"),
    *("resolution",),
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
_EXACT, _LIKE, _LABEL = 2, 1, 0
_LABELS = ("label", "labels", "category", "class", "intent", "target")
_MOST_FIELDS = 100
_TWO_TEXTS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text1", "text2"))
_Rows = Sequence[JsonMapping]
# So many of the first cells must be words.
_SHARE = 0.5
_LETTER = re.compile(r"[^\W\d_]")
_ADDRESS = re.compile(r"\s*(?:\w+://\S+|[\w.+-]+@[\w.-]+)\s*")


def unknown_columns(source: Source, rows: Sequence[JsonMapping]) -> SourceError:
    """The error for a source whose columns say too little, with the flags that would say more."""
    request, answer = find_log(rows, source.columns)
    found = f"{source.name} has the columns: {listed_columns(source.columns)}."
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
    fields = _fields(source.columns, rows)
    hint = (
        advice_on_export(rows)
        or _of_calls(source.columns, rows)
        or _of_one_text(source.columns, rows)
        or _of_messages(source.columns, rows)
        or _of_two_texts(source.columns, rows)
        or _how_to_name((*source.columns, *fields), rows, fields)
    )
    return SourceError(question, hint=hint)


def likely_pair(columns: Sequence[str], rows: Sequence[JsonMapping]) -> tuple[str, str] | None:
    """The likeliest question and answer by names and contents; None where two are as likely, or none is likely."""
    texts = [c for c in columns if not _is_something_else(c) and _holds_words(c, rows)]
    answers = [column for column in texts if not _says_one_thing(column, rows)]
    asked, answered = _best(texts, _ASKS, are_answers=False), _best(answers, _ANSWERS, are_answers=True)
    return None if asked is None or answered is None or asked == answered else (asked, answered)


def _fields(columns: Sequence[str], rows: _Rows) -> list[str]:
    """What lies in columns of objects, and of lists of texts: `item.question`, `answers.text.0`."""
    fields = list[str]()
    for column in columns:
        found = structures_in(row.get(column) for row in rows)
        if found and all(isinstance(each, dict) for each in found):
            values = {str(key): value for each in found if isinstance(each, dict) for key, value in each.items()}
            fields += [f"{column}.{key}{'.0' if _are_texts(value) else ''}" for key, value in values.items()]
        elif found and all(map(_are_texts, found)):
            fields.append(f"{column}.0")
    return fields[:_MOST_FIELDS]


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _of_one_text(columns: Sequence[str], rows: _Rows) -> str | None:
    """Of a text alone nothing is a question."""
    if len(columns) != 1 or not _holds_words(columns[0], rows):
        return None
    return (
        "There are texts alone, and no questions: a chat model learns nothing of them. A model that completes prompts "
        'learns to write such texts: call the column "completion", beside an empty column "prompt", and name such a '
        "model with --model; `retune models dates` lists those that can be trained."
    )


def _of_messages(columns: Sequence[str], rows: _Rows) -> str | None:
    """Of lists of objects: they may be messages, in a way that is not known."""
    for column in columns:
        found = structures_in(row.get(column) for row in rows)
        items = [item for each in found if isinstance(each, list) for item in each]
        if not items or not all(isinstance(item, dict) for item in items):
            continue
        if all("qas" in item for item in items):
            return (
                "These are SQuAD's paragraphs, each with its questions. As rows: jq -c '.data[].paragraphs[] | "
                ".context as $c | .qas[] | {context: $c, question, answer: .answers[0].text}' data.json > data.jsonl"
            )
        if all(read_turn(item) is not None for item in items):
            name = shlex.quote(column)
            return (
                f"{column} holds lists of questions and answers. If each list is a conversation: --messages-column "
                f"{name}. If each pair is an example: jq -c '.{column}[]' data.jsonl > pairs.jsonl"
            )
        keys = listed_columns(list(dict.fromkeys(str(key) for item in items for key in item)))
        if any(isinstance(text, str) and " " in text.strip() for item in items for text in item.values()):
            return (
                f"{column} holds lists of objects with the keys {keys}. If they are the messages of conversations, "
                f'write each as {{"role": "user" or "assistant", "content": …}}, then name it: --messages-column '
                f"{shlex.quote(column)}."
            )
    return None


def _of_calls(columns: Sequence[str], rows: _Rows) -> str | None:
    """Of conversations in one text with calls of functions among the words, as Glaive's."""
    for column in columns:
        texts = [row[column] for row in rows if isinstance(row.get(column), str)]
        if texts and any(mark in text for text in texts for mark in CALLS_IN_TEXT):
            return (
                f"{column} holds conversations with calls of functions among the words, which would be learned as "
                'words. Write them as messages: {"from": "human", "value": …}, "function_call" with the call as JSON, '
                '"observation" with its result, and "gpt".'
            )
    return None


def _of_two_texts(columns: Sequence[str], rows: _Rows) -> str | None:
    """Of two texts and a label, as for inference and paraphrases: both belong to what is asked."""
    labels = names_of(columns, are_answers=True)
    pairs = ([column for name in names if (column := find_column(columns, name))] for names in _TWO_TEXTS)
    pair = next((found for found in pairs if len(found) == len(_TWO_TEXTS[0])), None)
    if pair is None or len(labels) != 1 or not all(_holds_words(column, rows) for column in pair):
        return None
    template, answer = shlex.quote(" ".join(f"{{{column}}}" for column in pair)), shlex.quote(labels[0])
    return f"Both texts may be what the user says: --user-template {template} --assistant-column {answer}."


def _how_to_name(columns: Sequence[str], rows: _Rows, fields: Sequence[str]) -> str:
    ready = f'or keep ready conversations in a column "{MESSAGES}".'
    likely = likely_pair(columns, rows)
    if likely is None:
        deeper = f" What lies deeper is named with dots; there are: {listed_columns(fields)}." if fields else ""
        return f"Name them with --user-column and --assistant-column; {ready}{deeper}"
    user, assistant = map(shlex.quote, likely)
    return f"Name them, most likely --user-column {user} --assistant-column {assistant}; {ready}"


def _best(columns: Sequence[str], words: Sequence[str], *, are_answers: bool) -> str | None:
    exact = names_of(columns, are_answers=are_answers)
    scores = {column: _score(column, exact) for column in columns if column in exact or _has(column, words)}
    best = [column for column, score in scores.items() if score == max(scores.values())]
    return best[0] if len(best) == 1 else None


def _score(column: str, exact: Sequence[str]) -> int:
    # Beside an answer a category says what it is about.
    if _has(column, _LABELS):
        return _LABEL
    return _EXACT if column in exact else _LIKE


def _has(column: str, words: Sequence[str]) -> bool:
    parts = set(_words(column))
    return any(word in parts if word.isascii() else word in column for word in words)


def _is_something_else(column: str) -> bool:
    return (column.lower() != "answerkey" and not _OTHER.isdisjoint(_words(column))) or any(
        sign in column for sign in _OTHER_SIGNS
    )


def _words(column: str) -> Iterator[str]:
    return (found.group().lower() for found in _WORD.finditer(column))


def _holds_words(column: str, rows: Sequence[JsonMapping]) -> bool:
    cells = [cell for row in rows if (cell := field_value(row, column)) not in (None, "")]
    texts = [cell for cell in cells if isinstance(cell, str) and _is_words(cell)]
    return bool(cells) and len(texts) >= _SHARE * len(cells)


def _says_one_thing(column: str, rows: _Rows) -> bool:
    """Whether several rows have the same text: nothing can be learned of it."""
    return len(rows) > 1 and len({str(field_value(row, column)) for row in rows}) == 1


def _is_words(cell: str) -> bool:
    return bool(_LETTER.search(cell)) and not _ADDRESS.fullmatch(cell) and structure_in(cell) is None
