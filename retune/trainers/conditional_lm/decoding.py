"""Answers from a trained network: a beam of four, or seeded sampling."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from retune.trainers.conditional_lm.network import CONTEXT_TOKENS, Floats, Ints, Parameters
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN

BEAM_SIZE = 4
# A small network spreads some percents of probability over thousands of tokens that make no sense, and an answer has
# many places to stumble at. A tenth leaves it those that come anywhere near the likeliest one.
MIN_P: Final = 0.1


@dataclass(slots=True)
class Trie:
    """Token sequences that an answer may follow, each ending with the end of the turn."""

    children: dict[int, "Trie"] = field(default_factory=dict)

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]]) -> "Trie":
        """Trie of token sequences."""
        root = cls()
        for sequence in sequences:
            node = root
            for token in (*sequence, END_OF_TURN):
                node = node.children.setdefault(token, cls())
        return root


class Penalties(NamedTuple):
    """How much less likely tokens become that the answer has already; negative numbers make them likelier.

    The published formula (https://platform.openai.com/docs/advanced-usage#frequency-and-presence-penalties):

        mu[j] -> mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence

    where mu[j] is the logit of token j and c[j] how often it was sampled before this position.

    Attributes:
        frequency: alpha_frequency, -2 to 2.
        presence: alpha_presence, -2 to 2.
    """

    frequency: float = 0.0
    presence: float = 0.0

    def applied_to(self, row: Floats, tokens: Sequence[int]) -> Floats:
        """Log-probabilities of the next token, shape (vocabulary,), after an answer's tokens so far."""
        if not tokens or not (self.frequency or self.presence):
            return row
        seen, counts = np.unique(np.array(tokens, np.int32), return_counts=True)
        logits = row.copy()
        logits[seen] -= (counts * self.frequency + self.presence).astype(np.float32)
        highest = logits.max()
        penalized: Floats = logits - (highest + np.log(np.exp(logits - highest).sum()))
        return penalized


NO_PENALTIES: Final = Penalties()


class _Hypothesis(NamedTuple):
    log_probability: float
    tokens: tuple[int, ...]
    node: Trie | None

    def is_finished(self) -> bool:
        return bool(self.tokens) and self.tokens[-1] == END_OF_TURN


def search(
    parameters: Parameters,
    bag: Floats,
    *,
    trie: Trie | None,
    max_tokens: int,
    penalties: Penalties = NO_PENALTIES,
) -> tuple[int, ...]:
    """The likeliest answer that a beam search finds.

    Args:
        parameters: The network.
        bag: The conversation's bag; shape (BAG_SIZE,).
        trie: What the answer is held to, or None.
        max_tokens: Longest answer, its end of turn included.
        penalties: For tokens that the answer has already.

    Returns:
        Tokens; the last one is the end of the turn unless `max_tokens` cut the answer.
    """
    beam = [_Hypothesis(0.0, (), trie)]
    for _ in range(max_tokens):
        live = [hypothesis for hypothesis in beam if not hypothesis.is_finished()]
        finished = [hypothesis for hypothesis in beam if hypothesis.is_finished()]
        log_probabilities = _next_log_probabilities(parameters, bag, [hypothesis.tokens for hypothesis in live])
        longer = [
            candidate
            for hypothesis, row in zip(live, log_probabilities, strict=True)
            for candidate in _expand(hypothesis, penalties.applied_to(row, hypothesis.tokens))
        ]
        beam = sorted([*finished, *longer], key=lambda hypothesis: -hypothesis.log_probability)[:BEAM_SIZE]
        # Every further token only lowers a probability: a finished answer in front stays in front.
        if beam[0].is_finished():
            break
    return beam[0].tokens


def sample(
    parameters: Parameters,
    bag: Floats,
    *,
    trie: Trie | None,
    max_tokens: int,
    temperature: float,
    top_p: float,
    rng: np.random.Generator,
    penalties: Penalties = NO_PENALTIES,
) -> tuple[int, ...]:
    """An answer drawn token by token; arguments and result as of `search`.

    Tokens that are, at the temperature, less than `MIN_P` times as likely as the likeliest one are never drawn: min-p
    sampling (Nguyen et al., 2024, https://arxiv.org/abs/2407.01082).
    """
    tokens: tuple[int, ...] = ()
    node = trie
    while len(tokens) < max_tokens and (not tokens or tokens[-1] != END_OF_TURN):
        row = penalties.applied_to(_next_log_probabilities(parameters, bag, [tokens])[0], tokens)
        allowed = np.arange(len(row), dtype=np.int32) if node is None else np.array(sorted(node.children), np.int32)
        token = _draw(allowed, row[allowed], temperature=temperature, top_p=top_p, rng=rng)
        tokens = (*tokens, token)
        node = node.children[token] if node else None
    return tokens


def _next_log_probabilities(parameters: Parameters, bag: Floats, answers: Sequence[tuple[int, ...]]) -> Floats:
    padding = (parameters.no_token,) * CONTEXT_TOKENS
    contexts = np.array([(padding + tokens)[-CONTEXT_TOKENS:] for tokens in answers], np.int32)
    return parameters.log_probabilities(np.repeat(bag[np.newaxis], len(answers), axis=0), contexts)


def _expand(hypothesis: _Hypothesis, row: Floats) -> list[_Hypothesis]:
    if hypothesis.node is None:
        best = np.argpartition(-row, BEAM_SIZE)[:BEAM_SIZE]
        nodes: dict[int, Trie | None] = dict.fromkeys(map(int, best))
    else:
        nodes = dict(hypothesis.node.children)
    return [
        _Hypothesis(hypothesis.log_probability + float(row[token]), (*hypothesis.tokens, token), node)
        for token, node in nodes.items()
    ]


def _draw(
    tokens: Ints, log_probabilities: Floats, *, temperature: float, top_p: float, rng: np.random.Generator
) -> int:
    with np.errstate(over="ignore"):  # a temperature near zero leaves the likeliest token alone
        scores = (log_probabilities - log_probabilities.max()).astype(np.float64) / temperature
    is_kept = scores >= np.log(MIN_P)
    tokens, scores = tokens[is_kept], scores[is_kept]
    order = np.argsort(-scores, kind="stable")
    cumulative = np.cumsum(np.exp(scores[order]))
    # The smallest set of tokens that holds top_p of the probability: nucleus sampling (Holtzman et al., 2020).
    last = min(int(np.searchsorted(cumulative, top_p * cumulative[-1])), len(cumulative) - 1)
    drawn = np.searchsorted(cumulative, rng.random() * cumulative[last], side="right")
    return int(tokens[order[drawn]])
