import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_source import Choose, MakeSource, Read

from retune.data.formats.endings import Endings
from retune.data.formats.prompt_completion import PromptCompletionFormat
from retune.data.formats.row_format import RowFormat, TwoTextColumns
from retune.data.problems.problems import Finding

TEXTS = ["I lost my card.", "Where is it?", "It is 20%", "Help me, please!", "カードはどこですか？", "12:30 (today)"]
LABELS = ["lost", "arrival", "rate", "help", "到着", "time"]


def endings_of(shape: RowFormat) -> Endings:
    assert isinstance(shape, PromptCompletionFormat)
    return shape.endings


def lines(separator: str = "", space: str = "", stop: str = "") -> list[dict[str, str]]:
    return [
        {"prompt": f"{text}{separator}", "completion": f"{space}{label}{stop}"}
        for text, label in zip(TEXTS * 4, LABELS * 4, strict=True)
    ]


@pytest.mark.parametrize(
    "separator",
    [
        *("\n\n###\n\n", " ->", "->", "\n\n", "\n", " ", "\n\n===\n\n", "\n\nIntent:\n\n", "\nAgent:"),
        *("\n\n### Response:\n", "<|endofprompt|>", " =>", " →", " |", "####"),
    ],
)
def test_every_usual_separator_is_found_and_stripped(
    make_source: MakeSource,
    read: Read,
    choose: Choose,
    separator: str,
) -> None:
    source = make_source(lines(separator))
    assert endings_of(choose(source)) == Endings(separator=separator)
    assert [example.body["messages"][0]["content"] for example in read(source)] == TEXTS * 4


@pytest.mark.parametrize("stop", [" END", "\n", "###", " ###", "<|endoftext|>", " STOP", "\n\n###\n\n", " $$$"])
def test_every_usual_stop_sequence_is_found_and_stripped(
    make_source: MakeSource, read: Read, choose: Choose, stop: str
) -> None:
    source = make_source(lines("\n\n###\n\n", " ", stop))
    assert endings_of(choose(source)) == Endings("\n\n###\n\n", " ", stop)
    assert [example.body["messages"][1]["content"] for example in read(source)] == LABELS * 4


@pytest.mark.parametrize("ending", ["?", ".", "...", " please.", "!?", ")", " the card", ' card."', ": yes"])
def test_what_the_texts_say_is_no_separator(make_source: MakeSource, choose: Choose, ending: str) -> None:
    rows = [{"prompt": f"{text}{ending}", "completion": f"{text}{ending}"} for text in TEXTS]
    assert endings_of(choose(make_source(rows))) == Endings()


def test_labels_that_end_alike_lose_nothing(make_source: MakeSource, choose: Choose) -> None:
    rows = [{"prompt": text, "completion": label} for text, label in zip(TEXTS, [" positive", " negative"] * 3)]  # noqa: B905
    assert endings_of(choose(make_source(rows))) == Endings(space=" ")


def test_one_label_is_enough(make_source: MakeSource, choose: Choose) -> None:
    rows = [{"prompt": text, "completion": " spam END"} for text in TEXTS]
    assert endings_of(choose(make_source(rows))) == Endings(space=" ", stop=" END")


def test_no_rows_have_no_endings() -> None:
    assert Endings.find([], []) == Endings()


def test_title_shows_separators_and_stop_sequences(make_source: MakeSource, choose: Choose) -> None:
    title = choose(make_source(lines("\n\n###\n\n", " ", " END"))).title
    assert title == ("prompt and completion, separator '\\n\\n###\\n\\n', leading space ' ', stop ' END'")


_ENDS = st.sampled_from(["", " ->", "\n\n###\n\n", "\n", " ", "?", " END", "\nAgent:", "<|end|>", "a\n"])


@given(st.lists(st.tuples(st.text(max_size=5), _ENDS), min_size=1, max_size=8), _ENDS)
def test_an_ending_is_shared_by_most_and_no_part_of_a_word(drawn: list[tuple[str, str]], end: str) -> None:
    texts = [f"{text}{own}{end}" for text, own in drawn]
    found = Endings.find(texts, texts)
    for ending in (found.separator, found.stop):
        assert sum(text.endswith(ending) for text in texts) >= 0.9 * len(texts)
        assert not ending[-1:].isalnum() or ending.strip() in {"END", "STOP", "DONE", "EOS"}
    assert not found.space.strip()


def test_rows_without_the_endings_are_named_and_kept(make_source: MakeSource, read: Read) -> None:
    rows = [*lines(" ->", " ", " END"), {"prompt": "Hello?", "completion": "hello"}]
    *_, odd = read(make_source(rows))
    assert [message["content"] for message in odd.body["messages"]] == ["Hello?", "hello"]
    assert odd.findings == (
        Finding("separator_missing", "prompt does not end with the separator ' ->', as most do; it ends with \"lo?\"."),
        Finding(
            "separator_missing",
            "completion does not end with the stop sequence ' END', as most do; it ends with \"ello\".",
        ),
    )


def test_a_missing_cell_is_left_to_the_checks(make_source: MakeSource, read: Read) -> None:
    *_, odd = read(make_source([*lines(" ->"), {"prompt": None, "completion": 3}]))
    assert [message["content"] for message in odd.body["messages"]] == [None, "3"]
    assert odd.findings == ()


def test_texts_that_look_like_messages_stay_texts(make_source: MakeSource, read: Read) -> None:
    text = '{"role": "user", "content": "x"}'
    [example] = read(make_source([{"prompt": "Who?", "completion": text}]))
    assert example.body["messages"][1] == {"role": "assistant", "content": text}


def test_lists_of_messages_are_put_one_after_the_other(make_source: MakeSource, read: Read) -> None:
    asked, answered = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}
    [example] = read(make_source([{"prompt": [asked], "completion": [answered]}]), system="Be brief.")
    assert example.body["messages"] == [{"role": "system", "content": "Be brief."}, asked, answered]


def test_other_columns_may_be_named(make_source: MakeSource, choose: Choose) -> None:
    source = make_source([{"q": f"{text} ->", "a": label} for text, label in zip(TEXTS, LABELS, strict=True)])
    shape = choose(source, shape="completion", user_column="q", assistant_column="a")
    assert shape.title == "q and a, separator ' ->'"


def test_columns_without_endings_are_plain(make_source: MakeSource, choose: Choose) -> None:
    assert choose(make_source(lines())).two_text_columns == TwoTextColumns("prompt", "completion", None)
    assert choose(make_source(lines(" ->"))).two_text_columns is None
