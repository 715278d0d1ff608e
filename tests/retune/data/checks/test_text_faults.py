import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.checks.text_faults import NOT_VALUES, find_text_faults
from retune.data.problems.problems import Finding
from retune.data.problems.rules import RULES
from retune.data.text.words import cut_words


def faults_of(texts: pa.StringArray) -> list[tuple[int, Finding]]:
    return list(find_text_faults(texts, cut_words(texts)))


def found(*texts: str) -> list[tuple[int, str, str]]:
    return [(index, *finding) for index, finding in faults_of(pa.array(texts, pa.string()))]


@pytest.mark.parametrize("text", NOT_VALUES)
def test_placeholder_texts_are_reported(text: str) -> None:
    assert found("ok", text) == [(1, "not_a_value", f"a text is {json.dumps(text)} and nothing else.")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("caf\ufffd", '"caf\ufffd" holds U+FFFD, which stands for what could not be decoded.'),
        ("CafÃ©", '"CafÃ©" looks like UTF-8 that was read in another encoding.'),
        ("Ã–sterreich", '"Ã–sterreich" looks like UTF-8 that was read in another encoding.'),
        ("donâ€™t", '"donâ€™t" looks like UTF-8 that was read in another encoding.'),
        ("it is Â£5", '"it is Â£5" looks like UTF-8 that was read in another encoding.'),
        ("ðŸ˜€", '"ðŸ˜€" looks like UTF-8 that was read in another encoding.'),
        ("ï»¿id", '"ï»¿id" looks like UTF-8 that was read in another encoding.'),
        ("a\u200bb", '"a\\u200bb" holds U+200B (zero width space), which can\'t be seen.'),
        ("a\ufeffb", '"a\\ufeffb" holds U+FEFF (zero width no-break space), which can\'t be seen.'),
        ("a\x00b", '"a\\u0000b" holds U+0000 (a control character), which can\'t be seen.'),
        ("a\x1bb", '"a\\u001bb" holds U+001B (a control character), which can\'t be seen.'),
        ("a\x7fb", '"a\\u007fb" holds U+007F (a control character), which can\'t be seen.'),
        ("\x93quoted\x94", '"\\u0093quoted\\u0094" holds U+0093 (a control character), which can\'t be seen.'),
        (
            "x" * 100 + "\x01" + "y" * 100,
            f'"{"x" * 12}\\u0001{"y" * 12}" holds U+0001 (a control character), which can\'t be seen.',
        ),
    ],
)
def test_characters_that_nobody_typed(text: str, message: str) -> None:
    assert found("ok", text, "naïve café") == [(1, "odd_characters", message)]


@pytest.mark.parametrize(
    "text",
    [
        "tab\tline\r\nline\n\nend",
        "NÃO, SÃO PAULO",
        "“IRMÃ”, MAÇÃ…",
        "Âge, ïle, âme — “typographic”, it’s…",
        "👨‍👩‍👧 می‌خواهم",
        "お誕生日おめでとう、世界。",
        "nana, Nonetheless, nullify",
        "",
    ],
)
def test_ordinary_texts_have_no_faults(text: str) -> None:
    assert found("ok", text, "ok") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" a", 'the text "a" begins with " ".'),
        ("a\n", 'the text "a" ends with "\\n".'),
        ("\ta b  ", 'the text "a b" begins with "\\t" and ends with "  ".'),
        ("\u00a0a\u3000", 'the text "a" begins with "\\u00a0" and ends with "\\u3000".'),
    ],
)
def test_whitespace_around_texts_is_reported(text: str, message: str) -> None:
    assert found("ok", text) == [(1, "stray_whitespace", message)]


def test_a_slice_is_looked_at_alone() -> None:
    texts = pa.array(["nan", "\x00", " a", "Ã©", "ok", "", "b ", "NaN"], pa.string())
    findings = [(index, finding.kind) for index, finding in faults_of(texts.slice(2, 5))]
    assert findings == [(1, "odd_characters"), (0, "stray_whitespace"), (4, "stray_whitespace")]
    assert (faults_of(texts.slice(0, 0))) == []
    assert (faults_of(pa.array(["", ""], pa.string()))) == []


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["nan", "Ã©", "â€™", " x", "Â\u00a0"]))
)
def test_many_texts_are_judged_as_each_alone(texts: list[str]) -> None:
    alone = [(index, kind, message) for index, text in enumerate(texts) for _, kind, message in found(text)]
    assert sorted(found(*texts)) == sorted(alone)
    assert {RULES[kind].level for _, kind, _ in alone} <= {"warning"}
