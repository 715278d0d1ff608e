import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.trainers.conditional_lm.messages import Turn
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN, MAX_VOCABULARY, AnswerTokenizer, count_tokens

TICKETS = [
    '{"intent": "refund", "urgency": "high"}',
    '{"intent": "login", "urgency": "low"}',
    "返金します",
    "返金できます",
]
LEARNED = AnswerTokenizer.learn(TICKETS * 3)


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back_from_its_tokens(text: str) -> None:
    for tokenizer in (LEARNED, AnswerTokenizer()):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode([*tokens, END_OF_TURN]) == text
        assert all(END_OF_TURN < token < len(tokenizer) for token in tokens)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=20))
def test_any_answers_can_be_learned_from(texts: list[str]) -> None:
    tokenizer = AnswerTokenizer.learn(texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts
    assert len(tokenizer) <= MAX_VOCABULARY


def test_words_that_repeat_become_one_token() -> None:
    tokenizer = AnswerTokenizer.learn(["card_arrival", "card_arrival", "lost_or_stolen_card", "lost_or_stolen_card"])
    assert len(tokenizer.encode("card_arrival")) == 1
    assert len(tokenizer.encode("lost_or_stolen_card")) == 1


def test_a_word_seen_once_is_spelled_in_parts_it_shares_with_others() -> None:
    tokenizer = AnswerTokenizer.learn(["uncooperative", "uncooperating", "cooperatively"])
    assert len(tokenizer.encode("uncooperative")) < len("uncooperative") / 2


def test_text_without_spaces_is_learned_in_parts() -> None:
    tokenizer = AnswerTokenizer.learn(["商品の返金を承ります", "送料の返金を承ります", "商品の返金をお待ちください"])
    assert len(tokenizer.encode("商品の返金を承ります")) <= 5
    assert len(tokenizer.encode("返金")) == 2


def test_the_vocabulary_stays_within_its_bound() -> None:
    words = [str(number) for number in range(100_000, 106_000)] * 2
    assert 3000 < len(AnswerTokenizer.learn(words)) <= MAX_VOCABULARY


def test_cut_characters_decode_to_the_replacement_character() -> None:
    tokens = AnswerTokenizer().encode("é")
    assert len(tokens) == 2
    assert AnswerTokenizer().decode(tokens[:1]) == "\ufffd"


@pytest.mark.parametrize("pieces", [["a b", ""], ["same", "same"], [str(number) for number in range(4000)]])
def test_impossible_vocabularies_are_refused(pieces: list[str]) -> None:
    with pytest.raises(ValueError, match="different, non-empty pieces"):
        AnswerTokenizer(pieces)


def test_conversations_are_counted_as_the_api_bills_them() -> None:
    # 1 for the example, and for each message 3 and the tokens of its role and content; here a byte is a token.
    assert count_tokens([Turn("user", "hi"), Turn("assistant", "né")], AnswerTokenizer()) == 1 + (3 + 4 + 2) + (
        3 + 9 + 3
    )
