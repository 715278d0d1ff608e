import json
import pickle
import shlex
from typing import Any

import pytest
from rows_source import Choose, MakeSource, Read

from retune.config import SplitConfig
from retune.data.formats.unused import warn_of_unused
from retune.data.problems.problems import Finding
from retune.errors import SourceError

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
PAIR = {"prompt": "Who?", "chosen": "Me.", "rejected": "You."}
ITEM = {"messages": CHAT[:1], "reference_answer": "a"}
NAMED = {"user_column": "prompt", "assistant_column": "chosen"}

EVERY_SHAPE = [
    ({"question": "q", "answer": "a"}, "supervised"),
    ({"messages": CHAT}, "supervised"),
    ({"prompt": "q ->", "completion": " a"}, "supervised"),
    (PAIR, "dpo"),
    (ITEM, "reinforcement"),
]


@pytest.mark.parametrize(
    ("row", "title"),
    [
        ({"question": "q", "answer": "a", "id": 1}, "columns question → answer (by their names)"),
        ({"Question": "q", " Answer ": "a"}, "columns Question →  Answer  (by their names)"),
        ({"user": "q", "assistant": "a"}, "columns user → assistant (by their names)"),
        ({"input": "q", "output": "a"}, "columns input → output (by their names)"),
        ({"prompt": "q", "response": "a"}, "columns prompt → response (by their names)"),
        ({"text": "q", "label": 1}, "columns text → label (by their names)"),
        ({"id": 1, "text": "q", "category": "a"}, "columns text → category (by their names)"),
        ({"message": "q", "label": "a"}, "columns message → label (by their names)"),
        ({"instruction": "q", "output": "a"}, "columns instruction → output (by their names)"),
        (
            {"instruction": "q", "input": "x", "output": "a", "text": "t"},
            "columns instruction + input → output (by their names)",
        ),
        (
            {"instruction": "q", "context": "x", "response": "a", "category": "c"},
            "columns instruction + context → response (by their names)",
        ),
        (
            {"system_prompt": "s", "question": "q", "response": "a"},
            "columns question → response (by their names), system prompt with system_prompt",
        ),
        ({"messages": CHAT, "question": "q", "answer": "a"}, "conversations in messages"),
        ({"messages": CHAT, "tools": [], "id": 1}, "conversations in messages, with tools"),
        ({"conversation": CHAT, "id": 1}, "conversations in conversation"),
        ({"message": CHAT}, "conversations in message, which the API calls messages"),
        ({"talks": json.dumps(CHAT), "id": 1}, "conversations in talks"),
        ({"番号": 1, "質問": "q", "回答": "a"}, "columns 質問 → 回答 (by their names)"),
        ({"问题": "q", "答案": "a"}, "columns 问题 → 答案 (by their names)"),
        ({"输入": "q", "输出": "a"}, "columns 输入 → 输出 (by their names)"),
        ({"指令": "q", "输入": "x", "回复": "a"}, "columns 指令 + 输入 → 回复 (by their names)"),
        ({"prompt": "q", "completion": "a"}, "prompt and completion"),
        (PAIR, "preference pairs in prompt, chosen, rejected"),
        (ITEM, "reinforcement items from messages, item fields reference_answer"),
    ],
)
def test_the_columns_say_what_the_rows_hold(
    make_source: MakeSource, choose: Choose, row: dict[str, Any], title: str
) -> None:
    assert choose(make_source([row])).title == title


@pytest.mark.parametrize(
    ("row", "likely"),
    [
        ({"a": "q", "b": "a"}, None),
        ({"question": "q", "prompt": "q", "answer": "a"}, None),
        ({"question": "q", "answer": "a", "response": "a"}, None),
        ({"text": "q", "label": "a", "category": "a"}, None),
        ({"conversation": "text", "id": 1}, None),
        ({"chosen": "q", "rejected": "a"}, None),
        ({"id": 7, "time": "2026-01-01", "customer_id": "a"}, None),
        ({"title": "Bike", "create_time": 1.5, "user_email": "a@b.de", "answer": "x"}, None),
        ({"role": "user", "content": "Hello"}, None),
        ({"sep=": "question,answer", "column 2": "q"}, None),
        ({"question": "q", "label": "a"}, ("question", "label")),
        ({"customer_question": "q", "agentReply": "a", "agent_id": 7}, ("customer_question", "agentReply")),
        ({"番号": 1, "質問文": "開きますか", "担当者の回答": "はい"}, ("質問文", "担当者の回答")),
        ({"编号": "1", "用户问题": "几点", "客服回复": "九点"}, ("用户问题", "客服回复")),
    ],
)
def test_where_it_is_in_doubt_the_user_is_asked(
    make_source: MakeSource,
    choose: Choose,
    row: dict[str, Any],
    likely: tuple[str, str] | None,
) -> None:
    with pytest.raises(SourceError) as caught:
        choose(make_source([row]))
    flags = "Name them with --user-column and --assistant-column"
    if likely is not None:
        flags = "Name them, most likely --user-column {} --assistant-column {}".format(*map(shlex.quote, likely))
    assert str(caught.value) == (
        f"data has the columns: {', '.join(row)}. Which holds what the user says, and which the answer? {flags}; or "
        'keep ready conversations in a column "messages".'
    )
    if likely is not None:
        shape = choose(make_source([row]), user_column=likely[0], assistant_column=likely[1])
        assert shape.title == f"columns {likely[0]} → {likely[1]}"


def test_blank_columns_beside_the_instruction_leave_no_trace(make_source: MakeSource, read: Read) -> None:
    rows = [{"instruction": "Sum up.", "input": said, "output": "a"} for said in ("A text.", "", None)]
    contents = [example.body["messages"][0]["content"] for example in read(make_source(rows))]
    assert contents == ["Sum up.\n\nA text.", "Sum up.", "Sum up."]


def test_split_column_is_not_a_question(make_source: MakeSource, choose: Choose) -> None:
    row = {"user": 7, "question": "q", "answer": "a"}
    with pytest.raises(SourceError, match="Which holds"):
        choose(make_source([row]))
    split = SplitConfig(method="group", column="user")
    assert choose(make_source([row]), split=split).title == "columns question → answer (by their names)"


def test_mixed_lines_are_read_as_most_of_the_first_are(make_source: MakeSource, choose: Choose) -> None:
    chats, pairs = [{"messages": CHAT}] * 2, [{"prompt": "q", "completion": "a"}] * 3
    assert choose(make_source([*chats, *pairs])).title == "prompt and completion"
    assert choose(make_source([*chats, *pairs[:2]])).title == "conversations in messages"


def test_configured_shape_wins_over_detection(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"messages": CHAT, "question": "q", "answer": "a", "prompt": "p", "completion": "c"}])
    assert choose(source, shape="columns", user_column="prompt", assistant_column="answer").title == (
        "columns prompt → answer"
    )
    assert choose(source, shape="completion").title == "prompt and completion"
    assert choose(source, shape="messages").title == "conversations in messages"
    assert choose(source, user_column="question", assistant_column="answer").title == "columns question → answer"


def test_answered_conversations_with_an_id_are_no_items(make_source: MakeSource, choose: Choose) -> None:
    assert choose(make_source([{"messages": CHAT, "id": 1}])).method == "supervised"
    assert choose(make_source([{"messages": CHAT[:1]}])).method == "supervised"
    thanked = [*CHAT, {"role": "user", "content": "Thanks!"}]
    assert choose(make_source([{"messages": thanked, "id": 1}])).method == "supervised"


def test_lines_that_all_are_broken_are_left_to_the_checks(make_source: MakeSource, read: Read, choose: Choose) -> None:
    broken = Finding("not_json", "no object")
    for method in (None, "supervised", "dpo", "reinforcement"):
        shape = choose(make_source([broken]), method=method)
        assert (shape.title, shape.method) == ("unknown: none of the first lines can be read", method or "supervised")
    assert [example.findings for example in read(make_source([broken, broken]))] == [(broken,), (broken,)]


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ({"text": "q", "label": "a"}, {"shape": "messages"}, r'no column "messages"\. Its columns are: text, label'),
        ({"text": "q", "label": "a"}, {"messages_column": "turns"}, r'no column "turns"'),
        ({"text": "q", "label": "a"}, {"shape": "completion"}, r'no column "prompt"'),
        ({"a": "q", "b": "a"}, {"shape": "columns"}, "Which holds what the user says"),
        ({"text": "q"}, {"shape": "preference"}, "The method dpo needs a conversation with two answers: "),
        ({"a": "q"}, {"shape": "reinforcement"}, "The method reinforcement needs a conversation without"),
        ({"a": "q"}, {"method": "dpo"}, "The method dpo needs"),
        (PAIR, {"shape": "preference", **NAMED}, "The shape preference takes no user and assistant columns"),
        ({"messages": CHAT}, {"shape": "messages", **NAMED}, "The shape messages takes no user and assistant columns"),
        (
            {"question": "q", "answer": "a"},
            {"method": "dpo"},
            r"holds columns question → answer .* supervised or reinforcement, not dpo\. The method dpo .* rejected\. ",
        ),
        (
            ITEM,
            {"method": "dpo"},
            r"train the method reinforcement, not dpo\. .* `retune check --method reinforcement`",
        ),
        (
            {"question": "q", "answer": "a"},
            {"user_column": "question", "assistant_column": "question"},
            'The column "question" is named for what the user says and for the answer. Name two columns',
        ),
        (
            {"prompt": "q", "completion": "a"},
            {"shape": "completion", "user_column": "prompt", "assistant_column": "prompt"},
            'The column "prompt" is named for what the user says and for the answer',
        ),
        (PAIR, {"method": "supervised"}, "that can train the method dpo, not supervised"),
        (
            {"prompt": "q", "completion": "a"},
            {"shape": "completion", "user_template": "{prompt}", "assistant_column": "completion"},
            "Templates are for the shape columns, not for completion",
        ),
    ],
)
def test_what_does_not_fit_says_what_would(
    make_source: MakeSource,
    choose: Choose,
    row: dict[str, Any],
    settings: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(SourceError, match=message):
        choose(make_source([row]), **settings)


@pytest.mark.parametrize(("row", "method"), EVERY_SHAPE)
def test_shapes_travel_between_processes(
    make_source: MakeSource, choose: Choose, row: dict[str, Any], method: str
) -> None:
    source = make_source([row])
    shape = choose(source)
    assert shape.method == method
    copy = pickle.loads(pickle.dumps(shape))  # noqa: S301  (made here)
    assert copy == shape
    [block] = source.blocks()
    assert list(copy.examples(block)) == list(shape.examples(block))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"question": "q", "answer": "a"}] * 2 + [{"messages": CHAT}],
            "expected question, answer, as the others have; found messages.",
        ),
        (
            [{"question": "q", "answer": "a"}] * 101 + [{"question": "q", "anwser": "a"}],
            'expected question, answer, as the others have; found question, anwser. Is "anwser" meant to be "answer"?',
        ),
        (
            [{"prompt": "q", "completion": "a"}] * 2 + [{"messages": CHAT}],
            "expected prompt, completion, as the others have; found messages.",
        ),
    ],
)
def test_a_line_without_the_others_keys_says_what_it_holds(
    make_source: MakeSource, read: Read, rows: list[dict[str, str]], message: str
) -> None:
    *good, bad = read(make_source(rows))
    assert [example.findings for example in good] == [()] * len(good)
    assert bad.findings == (Finding("other_shape", message),)


def test_a_key_that_is_misspelt_is_guessed(make_source: MakeSource, read: Read) -> None:
    *_, bad = read(make_source([{"messages": CHAT}] * 101 + [{"mesages": CHAT}]))
    assert bad.findings == (
        Finding(
            "other_shape",
            'expected a list of messages in messages, found none; there is: mesages. Is "mesages" meant to be '
            '"messages"?',
        ),
    )


def test_nothing_in_a_column_is_no_other_shape(make_source: MakeSource, read: Read) -> None:
    [_, empty] = read(make_source([{"question": "q", "answer": "a"}, {"question": "q", "answer": None}]))
    assert empty.findings == ()
    assert empty.body["messages"][1]["content"] is None


@pytest.mark.parametrize("row", [{"prompt": ["a"], "completion": "b"}, {"prompt": "a", "completion": [1]}])
def test_column_of_lists_is_not_text(make_source: MakeSource, read: Read, row: dict[str, Any]) -> None:
    [example] = read(make_source([row]))
    [finding] = example.findings
    assert finding.kind == "content_not_text"
    assert "expected text or a list of messages, found [" in finding.message


def test_a_file_unlike_the_first_is_told_what_asks_for_the_column(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"question": "q", "answer": "a"}], [{"question": "q", "reply": "a"}])
    with pytest.raises(SourceError) as caught:
        choose(source)
    assert caught.value.message == (
        '1.jsonl has no column "answer". Its columns are: question, reply. 0.jsonl has it, and the names of the '
        "columns there say what is read."
    )
    assert str(caught.value).endswith(
        "Give all files the same columns, or leave this one out: a pattern in quotes names some files of a folder."
    )
    with pytest.raises(SourceError, match=r"0\.jsonl has it, and --assistant-column names it\."):
        choose(source, user_column="question", assistant_column="answer")


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"item": {"question": "q", "answer": "a"}}, "--user-column item.question --assistant-column item.answer"),
        ({"question": "q", "answers": {"text": ["a", "b"], "start": [3]}}, "--assistant-column answers.text.0"),
        ({"question": "q", "answers": ["a", "b"]}, "--user-column question --assistant-column answers.0"),
        ({"question": "q", "answers": "{'text': ['a'], 'answer_start': [0]}"}, "--assistant-column answers.text.0"),
        ({"translation": {"en": "dog", "de": "Hund"}}, "there are: translation.en, translation.de."),
        ({"document": "long", "summary": "short"}, "--user-column document --assistant-column summary"),
        ({"premise": "It rains.", "hypothesis": "It is wet.", "label": 1}, "--user-template '{premise} {hypothesis}'"),
        ({"text": "A note on rain."}, "name such a model with --model"),
        ({"FAQ Question": "q", "FAQ Answer": "a", "Category": "c"}, "--assistant-column 'FAQ Answer'"),
        ({"id": 1, "qa_pairs": [{"question": "q", "answer": "a"}]}, "--messages-column qa_pairs"),
        ({"title": "t", "paragraphs": [{"context": "c", "qas": []}]}, "jq -c '.data[].paragraphs[]"),
        ({"id": 1, "parts": [{"body": "It is wet.", "by": 4}]}, "--messages-column parts"),
        ({"chat": "USER: a ASSISTANT: <functioncall> {}"}, '"observation" with its result'),
    ],
)
def test_the_hint_fits_what_the_cells_hold(
    make_source: MakeSource, choose: Choose, row: dict[str, Any], hint: str
) -> None:
    with pytest.raises(SourceError) as error:
        choose(make_source([row]))
    assert hint in (error.value.hint or "")


def test_choices_beside_a_question_are_asked_for(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"question": "q", "choices": ["x", "y"], "answer": "x"}])
    [finding] = warn_of_unused(["choices"], choose(source), [row.values for row in source.sample()])
    assert "--user-template '{question} {choices}' --assistant-column answer" in finding.message


def test_a_column_that_says_one_thing_is_not_an_answer(make_source: MakeSource, choose: Choose) -> None:
    rows = [{"text": f"note {n}", "answer": "accept", "spans": []} for n in range(3)]
    with pytest.raises(SourceError) as error:
        choose(make_source(rows))
    assert (error.value.hint or "").startswith("Name them with --user-column and --assistant-column")
