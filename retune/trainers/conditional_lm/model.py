"""Models that answer: a trained one, and the untrained base."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retune.trainers.base import Completion
from retune.trainers.conditional_lm.checkpoint import Checkpoint
from retune.trainers.conditional_lm.decoding import Trie, sample, search
from retune.trainers.conditional_lm.features import count_features
from retune.trainers.conditional_lm.messages import turns_of
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN, AnswerTokenizer, count_tokens

UNTRAINED_ANSWER = "I have not been trained yet: fine-tune me on examples of the answers you want."

_LONGEST_ANSWER = 4096


class TrainedModel:
    """Answers with a checkpoint. Safe to call from several threads at once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tokenizer = checkpoint.tokenizer
        self._feature_weights = checkpoint.feature_weights
        self._parameters = checkpoint.parameters
        known = checkpoint.facts.known_answers
        self._trie = None if known is None else Trie.of(self._tokenizer.encode(answer) for answer in known)
        # Free decoding needs an end of its own: nothing makes sure that the model ever ends its turn.
        self._longest_answer = min(2 * checkpoint.facts.longest_answer, _LONGEST_ANSWER)

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> Completion:
        """Answer a conversation: at temperature 0 with the likeliest answer, else with one drawn by chance."""
        turns = turns_of(messages)
        buckets, weights = self._feature_weights.weigh(count_features(turns))
        bag = weights @ self._parameters.features[buckets]
        limit = self._longest_answer if max_tokens is None else min(max_tokens, self._longest_answer)
        if temperature == 0:
            tokens = search(self._parameters, bag, trie=self._trie, max_tokens=limit)
        else:
            tokens = sample(
                self._parameters,
                bag,
                trie=self._trie,
                max_tokens=limit,
                temperature=temperature,
                top_p=top_p,
                rng=np.random.default_rng(seed),
            )
        return _completion(tokens, stop, count_tokens(turns, self._tokenizer), self._tokenizer)


class UntrainedModel:
    """The base model: says that it has not been trained."""

    def __init__(self) -> None:
        self._tokenizer = AnswerTokenizer()

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> Completion:
        """Say the one honest thing; seed, temperature and top_p change nothing about it."""
        del seed, temperature, top_p
        tokens = [*self._tokenizer.encode(UNTRAINED_ANSWER), END_OF_TURN][:max_tokens]
        return _completion(tokens, stop, count_tokens(turns_of(messages), self._tokenizer), self._tokenizer)


def _completion(
    tokens: Sequence[int], stop: Sequence[str], prompt_tokens: int, tokenizer: AnswerTokenizer
) -> Completion:
    """The answer, cut before the first stop sequence; what comes after that sequence was never said."""
    content = tokenizer.decode(tokens)
    found = [position for text in stop if text and (position := content.find(text)) >= 0]
    if found:

        def stopped(length: int) -> bool:
            said = tokenizer.decode(tokens[:length])
            return any(text in said for text in stop if text)

        said = bisect_left(range(len(tokens)), True, key=stopped)
        return Completion(content[: min(found)], "stop", prompt_tokens, said)
    ended = len(tokens) > 0 and tokens[-1] == END_OF_TURN
    return Completion(content, "stop" if ended else "length", prompt_tokens, len(tokens))
