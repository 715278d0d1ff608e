"""Models that answer: a trained one, and the untrained base."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from retune.trainers.base import Completion, Prompt
from retune.trainers.conditional_lm.answer import answer_of
from retune.trainers.conditional_lm.checkpoint import Checkpoint
from retune.trainers.conditional_lm.decoding import Penalties, Trie, sample, search
from retune.trainers.conditional_lm.features import count_features
from retune.trainers.conditional_lm.likelihood import ScoredToken, score_tokens
from retune.trainers.conditional_lm.messages import Turn, turns_of
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN, AnswerTokenizer, count_tokens

UNTRAINED_ANSWER = "I have not been trained yet: fine-tune me on examples of the answers you want."

_LONGEST_ANSWER = 4096
_TRIES_KEPT = 8
_SEEDS = 1 << 64


class TrainedModel:
    """Answers with a checkpoint. Safe to call from several threads at once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tokenizer = checkpoint.tokenizer
        self._feature_weights = checkpoint.feature_weights
        self._parameters = checkpoint.parameters
        self.calls_tools = checkpoint.facts.calls_tools
        self._known_answers = checkpoint.facts.known_answers
        self._trie = None if self._known_answers is None else self._trie_of(self._known_answers)
        self._trie_of_accepted = lru_cache(maxsize=_TRIES_KEPT)(self._build_trie_of_accepted)
        # Free decoding needs an end of its own: nothing makes sure that the model ever ends its turn.
        self._longest_answer = min(2 * checkpoint.facts.longest_answer, _LONGEST_ANSWER)

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        top_logprobs: int | None = None,
        accepts: Callable[[str], bool] | None = None,
    ) -> Completion:
        """Answer; see `retune.trainers.base.LanguageModel.complete`.

        Where decoding is held to known answers, `accepts` chooses among them, and log-probabilities are of the tokens
        that lead to them. Neither temperature, top_p nor a penalty changes a log-probability.
        """
        turns = turns_of(prompt)
        buckets, weights = self._feature_weights.weigh(count_features(turns))
        bag = weights @ self._parameters.features[buckets]
        limit = self._longest_answer if max_tokens is None else min(max_tokens, self._longest_answer)
        trie = self._trie if self._trie is None or accepts is None else self._trie_of_accepted(accepts)
        penalties = Penalties(frequency_penalty, presence_penalty)
        if temperature == 0:
            tokens = search(self._parameters, bag, trie=trie, max_tokens=limit, penalties=penalties)
        else:
            tokens = sample(
                self._parameters,
                bag,
                trie=trie,
                max_tokens=limit,
                temperature=temperature,
                top_p=top_p,
                rng=np.random.default_rng(None if seed is None else seed % _SEEDS),
                penalties=penalties,
            )
        scored = None if top_logprobs is None else score_tokens(self._parameters, bag, tokens, trie, top_logprobs)
        return answer_of(
            tokens, scored, stop=stop, prompt_tokens=_count(prompt, turns, self._tokenizer), tokenizer=self._tokenizer
        )

    def _build_trie_of_accepted(self, accepts: Callable[[str], bool]) -> Trie | None:
        accepted = [answer for answer in self._known_answers or () if accepts(answer)]
        return self._trie_of(accepted) if accepted else self._trie

    def _trie_of(self, answers: Sequence[str]) -> Trie:
        return Trie.of(self._tokenizer.encode(answer) for answer in answers)


class UntrainedModel:
    """The base model: says that it has not been trained."""

    calls_tools = False

    def __init__(self) -> None:
        self._tokenizer = AnswerTokenizer()
        self._tokens = (*self._tokenizer.encode(UNTRAINED_ANSWER), END_OF_TURN)

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        top_logprobs: int | None = None,
        accepts: Callable[[str], bool] | None = None,
    ) -> Completion:
        """Say the one honest thing, with certainty; it is a refusal where it is not what the caller accepts."""
        del seed, temperature, top_p, frequency_penalty, presence_penalty
        tokens = self._tokens[:max_tokens]
        scored = None
        if top_logprobs is not None:
            scored = [ScoredToken(0.0, ((token, 0.0),)[:top_logprobs]) for token in tokens]
        prompt_tokens = _count(prompt, turns_of(prompt), self._tokenizer)
        answer = answer_of(tokens, scored, stop=stop, prompt_tokens=prompt_tokens, tokenizer=self._tokenizer)
        return answer if accepts is None or accepts(answer.content) else replace(answer, is_refusal=True)


def _count(prompt: Prompt, turns: Sequence[Turn], tokenizer: AnswerTokenizer) -> int:
    # A prompt is text alone: there are no roles around it that would count.
    return len(tokenizer.encode(turns[0].text)) if isinstance(prompt, str) else count_tokens(turns, tokenizer)
