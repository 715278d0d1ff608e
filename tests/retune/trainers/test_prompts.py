"""Prompts within a context, and training examples that are cut at its end."""

import pytest

from retune.trainers.base import PromptTooLongError
from retune.trainers.conditional_lm.messages import Answer, Row, Turn
from retune.trainers.conditional_lm.model import UntrainedModel
from retune.trainers.conditional_lm.prompts import CONTEXT_CHARACTERS, CONTEXT_TOKENS, cut_row
from retune.trainers.interruption import InterruptedWorkError, interruptible


@pytest.mark.parametrize(
    "text", ["a" * (CONTEXT_TOKENS + 1), "a" * (CONTEXT_CHARACTERS + 1), "漢" * (CONTEXT_TOKENS // 3 + 1)]
)
def test_a_prompt_beyond_the_context_is_too_long(text: str) -> None:
    for prompt in (
        text,
        [{"role": "user", "content": text}],
        [{"role": "user", "content": [{"type": "text", "text": text}]}],
    ):
        with pytest.raises(PromptTooLongError) as error:
            UntrainedModel().complete(prompt)
        assert error.value.context_tokens == CONTEXT_TOKENS < error.value.n_tokens


def test_an_example_is_cut_at_its_end() -> None:
    turns = (Turn("user", "four"), Turn("assistant", "five!"), Turn("user", "six..."), Turn("assistant", "never"))
    row = Row(turns, (Answer(turns[:1], "five!"), Answer(turns[:3], "never")))

    assert cut_row(row, 12) == Row((*turns[:2], Turn("user", "six")), (Answer(turns[:1], "five!"),))
    assert cut_row(Row(turns[:2], row.answers[:1]), 12) == Row(turns[:2], row.answers[:1])


def test_the_answer_at_the_end_is_learned_as_far_as_it_goes() -> None:
    turns = (Turn("user", "four"), Turn("assistant", "five!"))

    assert cut_row(Row(turns, (Answer(turns[:1], "five!"),)), 6).answers == (Answer(turns[:1], "fi"),)


def test_work_ends_at_a_checkpoint_when_nobody_waits_for_it() -> None:
    def refuse() -> None:
        raise InterruptedWorkError

    with pytest.raises(InterruptedWorkError), interruptible(refuse):
        UntrainedModel().complete("hello")
    assert UntrainedModel().complete("hello").finish_reason == "stop"
