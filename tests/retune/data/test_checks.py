import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.checks import MESSAGE_KEYS, check_examples
from retune.data.examples import Example
from retune.data.problems import RULES, CheckReport
from retune.errors import CheckError

USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}


def chat(question, answer):
    return {"messages": [{**USER, "content": question}, {**ASSISTANT, "content": answer}]}


def examples(*bodies):
    return [Example(body, f"row {number}") for number, body in enumerate(bodies, start=2)]


def sound(count):
    return [chat(f"question {number}", f"answer {number % 3}") for number in range(count)]


def check(*bodies):
    """What is found in these examples when there are enough of them."""
    report = check_examples(examples(*bodies), minimum_examples=0)
    return [(problem.kind, problem.location, problem.message) for problem in report.problems]


def test_sound_examples_have_no_problems():
    report = check_examples(examples(*sound(10)))
    assert report.problems == []
    assert report.n_examples == 10
    report.raise_for_errors()


def test_seven_rows_are_too_few():
    report = check_examples(examples(*sound(7)))
    with pytest.raises(CheckError) as caught:
        report.raise_for_errors()
    assert str(caught.value) == (
        "The checks found 1 error in 7 examples.\n"
        "too_few_examples: 1\n"
        "  all examples: found 7, but fine-tuning needs at least 10.\n"
        "  → Add examples; 50 to 100 good ones are a fair start."
    )


@pytest.mark.parametrize(
    ("messages", "kind", "message"),
    [
        (None, "missing_messages", "expected a list of messages, found none."),
        ([], "missing_messages", "expected a list of messages, found []."),
        ("hi", "missing_messages", 'expected a list of messages, found "hi".'),
        ([USER, "hi", ASSISTANT], "message_not_object", 'message 2: expected an object, found "hi".'),
        (
            [{**USER, "role": "usr"}, ASSISTANT],
            "unknown_role",
            'message 1: unknown role "usr"; allowed: system, developer, user, assistant, tool, function.',
        ),
        (
            [{"content": "Hello?"}, ASSISTANT],
            "unknown_role",
            "message 1: no role; allowed: system, developer, user, assistant, tool, function.",
        ),
        (
            [{**USER, "contents": "x"}, ASSISTANT],
            "unknown_key",
            f'message 1: unknown key "contents"; allowed: {", ".join(MESSAGE_KEYS)}.',
        ),
        ([USER, {"role": "assistant"}], "missing_content", "message 2 (assistant): no content; expected text."),
        ([{**USER, "content": None}, ASSISTANT], "missing_content", "message 1 (user): no content; expected text."),
        (
            [{**USER, "content": " \n"}, ASSISTANT],
            "empty_content",
            'message 1 (user): the content is " \\n"; expected text.',
        ),
        (
            [USER, {**ASSISTANT, "content": 7}],
            "content_not_text",
            "message 2 (assistant): expected text or a list of content parts, found 7.",
        ),
        (
            [{**USER, "content": []}, ASSISTANT],
            "content_not_text",
            "message 1 (user): expected text or a list of content parts, found [].",
        ),
        ([USER], "no_assistant_message", 'no message is the assistant\'s; roles: ["user"].'),
        (
            [USER, ASSISTANT, USER],
            "last_message_not_assistant",
            'the last message is of the role "user"; expected assistant.',
        ),
    ],
)
def test_structure(messages, kind, message):
    assert check({"messages": messages}) == [(kind, "row 2", message)]


def test_a_key_beside_the_messages_is_only_a_warning():
    assert check({**chat("q", "a"), "id": 1}) == [
        (
            "unknown_example_key",
            "row 2",
            'unknown key "id" beside the messages; allowed: messages, tools, parallel_tool_calls, functions.',
        )
    ]
    assert RULES["unknown_example_key"].level == "warning"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "refusal": "I can't."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi."}], "weight": 0},
    ],
)
def test_an_answer_need_not_be_text(message):
    assert check({"messages": [{"role": "developer", "content": "Be brief."}, {**USER, "name": "Kim"}, message]}) == []


def test_all_problems_of_an_example_are_found_at_once():
    messages = [{"role": "usr", "content": "", "text": "x"}, 7]
    assert [kind for kind, _, _ in check({"messages": messages})] == [
        "message_not_object",
        "unknown_role",
        "unknown_key",
        "empty_content",
        "no_assistant_message",
    ]


def test_duplicates_point_to_the_first():
    assert check(chat("q", "a"), chat("r", "b"), chat("q", "a"), chat("q", "a")) == [
        ("duplicate_example", "row 4", "the same as row 2."),
        ("duplicate_example", "row 5", "the same as row 2."),
    ]


def test_conflicting_answers_are_shown_side_by_side():
    assert check(chat("q", "a"), chat("q", "b" * 100)) == [
        (
            "conflicting_answers",
            "row 3",
            f'asks the same as row 2, but answers "{"b" * 58}… and not "a".',
        )
    ]


def test_an_answer_that_never_changes_is_noticed():
    assert check(chat("q", "a"), chat("r", "a")) == [
        ("same_answer_everywhere", "all examples", 'all 2 answers are "a".')
    ]


def test_errors_are_grouped_with_counts_and_first_places():
    broken = [{"messages": [{**USER, "role": "usr"}, ASSISTANT]}] * 5
    report = check_examples(examples(*sound(10), *broken, chat("", "a")))
    with pytest.raises(CheckError) as caught:
        report.raise_for_errors()
    assert str(caught.value) == (
        "The checks found 6 errors in 16 examples.\n"
        "unknown_role: 5\n"
        '  row 12: message 1: unknown role "usr"; allowed: system, developer, user, assistant, tool, function.\n'
        '  row 13: message 1: unknown role "usr"; allowed: system, developer, user, assistant, tool, function.\n'
        '  row 14: message 1: unknown role "usr"; allowed: system, developer, user, assistant, tool, function.\n'
        "  and 2 more\n"
        "  → Rename the role.\n"
        "empty_content: 1\n"
        '  row 17: message 1 (user): the content is ""; expected text.\n'
        "  → Fill the cell in or remove the example."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  (pickled here)


def test_warnings_stop_nothing():
    report = check_examples(examples(*sound(10), *sound(3)))
    report.raise_for_errors()
    assert report.errors == []
    assert [problem.location for problem in report.warnings] == ["row 12", "row 13", "row 14"]
    assert report.summarize_warnings() == ["duplicate_example: 3"]


def test_a_report_travels_as_json():
    report = check_examples(examples(*sound(3), {"messages": [{**USER, "role": "\ud800"}, ASSISTANT]}))
    text = report.model_dump_json()
    assert json.loads(text)["counts"] == {"too_few_examples": 1, "unknown_role": 1}
    assert CheckReport.model_validate_json(text) == report


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant"]) | JSON_VALUES,
        "content": JSON_VALUES,
        "tool_calls": JSON_VALUES,
        "x": JSON_VALUES,
    },
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.fixed_dictionaries({}, optional={"messages": st.lists(MESSAGES | JSON_VALUES) | JSON_VALUES})))
def test_no_json_breaks_the_checks(bodies):
    report = check_examples(examples(*bodies))
    assert report.n_examples == len(bodies)
    assert len(report.errors) + len(report.warnings) == len(report.problems) == sum(report.counts.values())
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


def test_banking77_is_sound(banking77_examples):
    assert check_examples(banking77_examples).problems == []
