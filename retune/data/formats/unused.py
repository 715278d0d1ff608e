"""Columns of a source that reach no example, and what their names suggest."""

import shlex
from collections.abc import Iterable, Sequence

from retune.data.formats.logs import LogFormat
from retune.data.formats.messages import MessagesFormat
from retune.data.formats.prompt_answer import PromptAnswerFormat
from retune.data.formats.prompt_completion import PromptCompletionFormat
from retune.data.formats.row_format import ColumnFormat, RowFormat
from retune.data.formats.split_columns import filled_cells
from retune.data.formats.templates import Template, TextSource
from retune.data.problems.problems import Finding
from retune.data.sources.blocks import Source
from retune.data.sources.split_names import flag_named, flag_said, is_split_column, split_named
from retune.redaction.masking import masked, shown
from retune.training_lines.keys import JsonMapping

_SYSTEM = ("system", "systemprompt", "systemmessage", "システム", "系统", "系统提示")
_CONTEXT = (
    *("context", "contexts", "instruction", "instructions", "input", "inputs", "document", "documents", "passage"),
    *("article", "schema"),
    *("background", "文脈", "指示", "入力", "上下文", "背景", "指令", "输入"),
)
_HISTORY = ("history", "chathistory", "conversationhistory", "previousturns", "履歴", "历史", "历史对话")
_TOOLS = ("tools", "functions", "toolcalls", "functioncall")
_MOST_CELLS_SHOWN = 3
_FOLDS = ("fold", "folds", "cvfold", "kfold", "foldid")
_WEIGHTS = ("weight", "weights", "sampleweight")
_GROUPS = (
    *("conversationid", "convid", "dialogueid", "dialogid", "threadid", "sessionid", "chatid", "groupid", "group"),
    *("userid", "customerid", "documentid", "docid", "ticketid"),
)
_CONVERSATIONS = ("messages", "message", "conversations", "conversation", "dialogue", "dialog", "turns", "thread")
_CHOICES = ("choices", "options", "choice", "a", "b", "c", "d", "optiona", "optionb", "optionc", "optiond", "endings")
_JUDGEMENTS = ("label", "rating", "score", "reward", "feedback", "isgood", "accepted", "preferred")
_MEDIA = (
    *("images", "image", "imagepath", "imageurl", "imageurls", "picture", "pictures", "audio", "audios", "audiopath"),
    *("video", "videos", "videopath", "media", "画像", "图片", "图像", "音频", "视频"),
)
_THOUGHTS = ("reasoning", "reasoningcontent", "thinking", "thought", "thoughts", "rationale")
_JUDGED = PromptCompletionFormat | PromptAnswerFormat | MessagesFormat | LogFormat


def unused_columns(source: Source, row_format: RowFormat) -> list[str]:
    """The columns of all files of a source that reach no example and no split, in their order."""
    columns = source.all_columns
    used = source.grouped_by
    return [
        name
        for name in columns
        if isinstance(row_format, ColumnFormat) and name not in used and not row_format.uses(name)
    ]


def warn_of_unused(names: Iterable[str], row_format: RowFormat, rows: Sequence[JsonMapping]) -> list[Finding]:
    """A finding for each unused column whose name says that it means something, with what would use it.

    Args:
        names: The columns that are not used.
        row_format: What does not use them.
        rows: The first rows.
    """
    if not isinstance(row_format, ColumnFormat):
        return []
    advised = ((name, _advice(name, row_format, rows)) for name in names)
    return [
        Finding("unused_column", f"column {masked(name)} is not used. {advice}") for name, advice in advised if advice
    ]


def _advice(name: str, row_format: ColumnFormat, rows: Sequence[JsonMapping]) -> str | None:
    plain = name.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    # Keys of messages stand after the name of their column.
    said = plain.rsplit(".", 1)[-1]
    cells = [row[name] for row in rows if row.get(name) not in (None, "")]
    quoted = shlex.quote(name)
    advice: str | None = None
    if (about_split := _advice_on_split(name, cells, is_fold=plain in _FOLDS)) is not None:
        advice = about_split
    elif plain in _GROUPS and _repeat(cells):
        advice = f"Rows that share it stay on one side with --split group --split-column {quoted}."
    elif plain in (*_WEIGHTS, *_TOOLS) or said in _MEDIA or (said in _THOUGHTS and "." in plain):
        advice = _what_is_read_instead(said)
    elif plain in _CONVERSATIONS:
        advice = f"If it holds conversations, --messages-column {quoted} reads them in place of the other columns."
    elif plain in _JUDGEMENTS and isinstance(row_format, _JUDGED) and _are_judgements(cells):
        advice = "If it says which answers are good: the others are learned too. Leave their rows out."
    elif plain in _CHOICES and isinstance(row_format, PromptCompletionFormat | PromptAnswerFormat):
        advice = _how_to_use(name, row_format, as_system=False, after=True)
        advice = f"If it is to choose from, the question needs it. {advice}"
    elif plain in (*_SYSTEM, *_CONTEXT, *_HISTORY):
        advice = _how_to_use(name, row_format, as_system=plain in _SYSTEM)
    return advice


def _what_is_read_instead(name: str) -> str:
    if name in _WEIGHTS:
        return "Every row counts the same: only assistant messages have weights, 0 or 1, as a key beside their content."
    if name in _TOOLS:
        return "Tools are read where every cell is a JSON list of them, each with its name."
    if name in _THOUGHTS:
        return "What a model thought is not learned; put it into the content if it is to be."
    return (
        "What it shows is not learned, and a mark in a text, such as <image>, is learned as text. Images are read "
        'as parts of a user\'s content: {"type": "image_url", "image_url": {"url": "https://…"}}.'
    )


def _advice_on_split(name: str, cells: Sequence[object], *, is_fold: bool) -> str | None:
    """What makes a column say the split, where its name or all of its first cells speak of splits."""
    quoted, texts = shlex.quote(name), list(filled_cells([{name: cell} for cell in cells], name))
    named = [text for text in texts if split_named(text) is not None]
    flag = flag_named(name)
    if texts and len(named) == len(texts):
        return f"If it says which rows are for training: --split column --split-column {quoted}."
    if flag is not None and texts and all(flag_said(text) is not None for text in texts):
        return f"If it says which rows are for {flag.split}: --split column --split-column {quoted}."
    if is_fold and _repeat(cells):
        return f"Rows that share it stay on one side with --split group --split-column {quoted}."
    if not is_split_column(name) and not is_fold and (flag is None or not flag.is_certain):
        return None
    others = list(dict.fromkeys(shown(text) for text in texts if text not in named))[:_MOST_CELLS_SHOWN]
    found = f", but {', '.join(others)}" if others else ""
    return (
        f"Its first cells don't say train, validation or test{found}. If it says the split, write these words there: "
        "what is for validation or test would be trained on."
    )


def _repeat(cells: Sequence[object]) -> bool:
    return all(isinstance(cell, str | int) for cell in cells) and len(set(cells)) < len(cells)


def _are_judgements(cells: Sequence[object]) -> bool:
    return bool(cells) and all(isinstance(cell, bool | int | float) or _is_yes_or_no(cell) for cell in cells)


def _is_yes_or_no(cell: object) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in ("true", "false", "yes", "no", "0", "1")


def _how_to_use(name: str, row_format: ColumnFormat, *, as_system: bool, after: bool = False) -> str:
    if "{" in name or "}" in name:
        return "Rename it without braces: then a template can read it."
    field = f"{{{name}}}"
    if isinstance(row_format, PromptCompletionFormat):
        user, answer = f"{{{row_format.prompt}}}", f"--assistant-column {shlex.quote(row_format.completion)}"
    elif isinstance(row_format, PromptAnswerFormat):
        user, answer = _written(row_format.user), _answer_flag(row_format.assistant)
    if as_system or not isinstance(row_format, PromptCompletionFormat | PromptAnswerFormat):
        template = " ".join([*(f"{{{column}}}" for column in row_format.system.columns), field])
        return f"The system prompt can hold it: --system {shlex.quote(template)}."
    text = f"{user} {field}" if after else f"{field} {user}"
    return f"What the user says can hold it: --user-template {shlex.quote(text)} {answer}."


def _answer_flag(text: TextSource) -> str:
    if isinstance(text, Template):
        return f"--assistant-template {shlex.quote(text.written)}"
    return f"--assistant-column {shlex.quote(text.columns[0])}"


def _written(text: TextSource) -> str:
    return text.written if isinstance(text, Template) else " ".join(f"{{{column}}}" for column in text.columns)
