"""What answers are worth that need no language model."""

import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.example.labels import parse_object
from retune.evaluation.comparison import reference_row
from retune.evaluation.examples import EvaluationExample, is_sampled, read_examples
from retune.evaluation.references import Reference, answer_by_references
from retune.evaluation.scorers import score_answers

WORDS = {"refund": "money back please", "login": "can not sign in", "delivery": "parcel is late"}


def examples(pairs: list[tuple[str, str]]) -> list[EvaluationExample]:
    return [
        EvaluationExample(index=index, prompt=[{"role": "user", "content": question}], expected=expected)
        for index, (question, expected) in enumerate(pairs)
    ]


def tickets(n: int, first: int = 0) -> list[tuple[str, str]]:
    generator = random.Random(first)
    labels = generator.choices(list(WORDS), weights=[6, 3, 1], k=n)
    return [(f"order {first + number}: {WORDS[label]}", label) for number, label in enumerate(labels)]


def answered(made: list[Reference], name: str) -> list[str | None]:
    [found] = [reference for reference in made if reference.name == name]
    return [answer.content for answer in found.answers]


def test_labels_are_told_by_their_words_and_by_their_number() -> None:
    train, test = examples(tickets(120)), examples(tickets(60, first=500))
    made = answer_by_references(train, test)
    assert set(answered(made, "majority")) == {"refund"}
    assert answered(made, "tfidf_logistic_regression") == [example.expected for example in test]
    row = reference_row("majority", made[0].answers, made[1].answers)
    assert row.exact_match == pytest.approx(sum(example.expected == "refund" for example in test) / 60)
    assert row.difference.is_certain
    assert "The fine-tuned model is better (p < 0.001)." in row.sentence
    same = reference_row("majority", made[0].answers, made[0].answers)
    assert "not better beyond chance (p = 1.000)" in same.sentence
    assert "The fine-tuned model is worse" in reference_row("majority", made[1].answers, made[0].answers).sentence


def test_fields_of_json_are_predicted_each_by_itself() -> None:
    pairs = [
        (question, json.dumps({"intent": label, "order": number, **({"urgent": True} if label == "login" else {})}))
        for number, (question, label) in enumerate(tickets(120))
    ]
    train, test = examples(pairs[:80]), examples(pairs[80:])
    made = answer_by_references(train, test)
    for text, example in zip(answered(made, "tfidf_logistic_regression"), test, strict=True):
        found, expected = parse_object(text) or {}, json.loads(example.expected)
        # A number that never repeats can't be learned, and is always the same one.
        assert found == {**expected, "order": 0}


def test_lists_of_labels_are_whole_answers_whatever_their_order() -> None:
    lists = {"refund": ['["a", "b"]', '["b","a"]'], "login": ['["c"]'], "delivery": ['["c", "a"]']}
    pairs = [
        (question, lists[label][number % len(lists[label])]) for number, (question, label) in enumerate(tickets(90))
    ]
    made = answer_by_references(examples(pairs[:60]), examples(pairs[60:]))
    assert [score_answers(one.answers).task for one in made] == ["labels", "labels"]
    assert score_answers(made[1].answers).sets_right == 1


def test_open_text_has_no_floor() -> None:
    pairs = [(f"question {number}", f"a sentence about {number}") for number in range(20)]
    assert answer_by_references(examples(pairs), examples(pairs)) == []


def test_one_answer_needs_no_classifier() -> None:
    pairs = [(f"question {number}", "yes") for number in range(20)]
    assert [one.name for one in answer_by_references(examples(pairs), examples(pairs))] == ["majority"]


def test_chinese_and_japanese_are_told_apart_without_spaces() -> None:
    texts = [("我的订单在哪里", "delivery"), ("返金はいつですか", "refund"), ("无法登录我的账户", "login")]
    pairs = [(f"{texts[number % 3][0]}{number}", texts[number % 3][1]) for number in range(60)]
    made = answer_by_references(examples(pairs[:45]), examples(pairs[45:]))
    assert answered(made, "tfidf_logistic_regression") == [expected for _, expected in pairs[45:]]


TEXTS = st.text('ab {}[]"1,:é字', max_size=6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(TEXTS, st.sampled_from(["x", "y", "", '["x"]', '{"a": 1}', '{"a": null}'])), max_size=12))
def test_any_data_gets_an_answer_for_each_example(pairs: list[tuple[str, str]]) -> None:
    test = examples(pairs * 3)
    for reference in answer_by_references(examples(pairs), test):
        assert [answer.index for answer in reference.answers] == [example.index for example in test]
        assert all(answer.content is not None for answer in reference.answers)


@given(st.integers(0, 400), st.integers(1, 100))
def test_a_sample_has_its_size_and_even_spaces(n: int, most: int) -> None:
    taken = [index for index in range(n) if is_sampled(index, n, most)]
    assert len(taken) == min(n, most)
    gaps = [later - earlier for earlier, later in itertools.pairwise(taken)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_sample_of_a_file_is_spread_over_it(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    messages = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": f"{n}"}] for n in range(9)]
    path.write_text("".join(json.dumps({"messages": one}) + "\n" for one in messages))
    assert [one.expected for one in read_examples(path, limit=3, spread_over=9)] == ["0", "3", "6"]
    assert [one.expected for one in read_examples(path, limit=3)] == ["0", "1", "2"]
