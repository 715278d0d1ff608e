"""Tokens out of the network, an answer in bytes and text."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from retune.trainers.base import Completion, LikelyToken, TokenLogprob
from retune.trainers.conditional_lm.likelihood import ScoredToken
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN, AnswerTokenizer


def answer_of(
    tokens: Sequence[int],
    scored: Sequence[ScoredToken] | None,
    *,
    stop: Sequence[str],
    prompt_tokens: int,
    tokenizer: AnswerTokenizer,
) -> Completion:
    """The answer, cut before the first stop sequence that is complete; what comes after it was never said."""
    pieces = [tokenizer.bytes_of(token) for token in tokens]
    said = b"".join(pieces)
    ended = len(tokens) > 0 and tokens[-1] == END_OF_TURN
    n_tokens = len(tokens)
    found = _first_stop(said, stop)
    if found:
        start, end = found
        n_tokens = bisect_left(list(accumulate(map(len, pieces))), end) + 1
        said, ended = said[:start], True
    kept = tuple(_cut(pieces, len(said)))
    return Completion(
        content=said.decode("utf-8", "replace"),
        finish_reason="stop" if ended else "length",
        prompt_tokens=prompt_tokens,
        completion_tokens=n_tokens,
        tokens=kept,
        logprobs=None if scored is None else _logprobs(kept, scored, tokenizer),
    )


def _first_stop(said: bytes, stop: Sequence[str]) -> tuple[int, int] | None:
    """Start and end of the stop sequence that is complete first."""
    found = []
    for text in filter(None, stop):
        wanted = text.encode("utf-8", "surrogatepass")
        start = said.find(wanted)
        if start >= 0:
            found.append((start, start + len(wanted)))
    return min(found, key=lambda place: (place[1], place[0]), default=None)


def _cut(pieces: Sequence[bytes], length: int) -> Iterator[bytes]:
    for piece in pieces:
        if length > 0 and piece:
            yield piece[:length]
        length -= len(piece)


def _logprobs(
    pieces: Sequence[bytes], scored: Sequence[ScoredToken], tokenizer: AnswerTokenizer
) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(piece, score.log_probability, tuple(_likely(score, tokenizer)))
        # The end of the turn has a score, and no piece.
        for piece, score in zip(pieces, scored, strict=False)
    )


def _likely(score: ScoredToken, tokenizer: AnswerTokenizer) -> Iterator[LikelyToken]:
    for token, log_probability in score.alternatives:
        yield LikelyToken(None if token == END_OF_TURN else tokenizer.bytes_of(token), log_probability)
