"""Prompts read within a context: how long one may be, and where a training example is cut."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from retune.trainers.base import PromptTooLongError
from retune.trainers.conditional_lm.messages import Row, Turn
from retune.trainers.conditional_lm.tokenizer import AnswerTokenizer, count_tokens
from retune.trainers.interruption import checkpoint

# 65,536 tokens, as many as OpenAI's models read of a training example, are about so many bytes; a byte is the smallest
# token of this trainer.
CONTEXT_TOKENS: Final = 262_144
# What a prompt takes to read grows with its characters: two of them count as one token at least.
CONTEXT_CHARACTERS: Final = 2 * CONTEXT_TOKENS


def count_prompt_tokens(turns: Sequence[Turn], tokenizer: AnswerTokenizer, *, is_chat: bool) -> int:
    """Tokens of a prompt that fits into the context, as the API bills them; its characters are counted first.

    Raises:
        PromptTooLongError: It does not fit.
    """
    n_characters = sum(len(turn.role) + len(turn.text) for turn in turns)
    if n_characters > CONTEXT_CHARACTERS:
        raise PromptTooLongError(-(-n_characters // 2), CONTEXT_TOKENS)
    checkpoint()
    # A prompt is text alone: there are no roles around it that would count.
    n_tokens = count_tokens(turns, tokenizer) if is_chat else len(tokenizer.encode(turns[0].text))
    if n_tokens > CONTEXT_TOKENS:
        raise PromptTooLongError(n_tokens, CONTEXT_TOKENS)
    return n_tokens


def cut_row(row: Row, context_characters: int = CONTEXT_CHARACTERS) -> Row:
    """A training example without what comes behind the context's end, and without answers that begin there."""
    kept = _cut(row.turns, context_characters)
    if kept == row.turns:
        return row
    # An answer is the turn behind its conversation; of one that is cut, the beginning is learned.
    answers = tuple(
        replace(answer, text=kept[len(answer.conversation)].text)
        for answer in row.answers
        if len(answer.conversation) < len(kept)
    )
    return replace(row, turns=kept, answers=answers)


def _cut(turns: Sequence[Turn], n_characters: int) -> tuple[Turn, ...]:
    kept: list[Turn] = []
    for turn in turns:
        if n_characters <= 0:
            break
        kept.append(turn if len(turn.text) <= n_characters else replace(turn, text=turn.text[:n_characters]))
        n_characters -= len(turn.text)
    return tuple(kept)
