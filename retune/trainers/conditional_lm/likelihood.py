"""How likely the tokens of an answer were, and what else was likely in their place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retune.trainers.conditional_lm.decoding import Trie
from retune.trainers.conditional_lm.network import CONTEXT_TOKENS, Floats, Parameters

# A position costs a few arrays of vocabulary size: 4 MB each for 256 of them.
_POSITIONS_AT_ONCE = 256


class ScoredToken(NamedTuple):
    """Log-probability of one token of an answer, and its likeliest alternatives: ids and log-probabilities."""

    log_probability: float
    alternatives: tuple[tuple[int, float], ...]


def score_tokens(
    parameters: Parameters, bag: Floats, tokens: Sequence[int], trie: Trie | None, top: int
) -> list[ScoredToken]:
    """Log-probabilities (nats) along an answer, in the distribution that it was decoded from.

    That is the network's own over the whole vocabulary; or, where the answer was held to a trie, over the tokens that
    the trie allows at that place, which the network's probabilities are renormalised to. Temperature, nucleus, min-p
    and penalties play no part.

    Args:
        parameters: The network.
        bag: The conversation's bag; shape (BAG_SIZE,).
        tokens: The answer.
        trie: What the answer was held to, or None.
        top: How many alternatives to give; fewer where the trie allows fewer.
    """
    padded = np.array([*(parameters.no_token,) * CONTEXT_TOKENS, *tokens], np.int32)
    contexts = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT_TOKENS)
    node, scored = trie, []
    for start in range(0, len(tokens), _POSITIONS_AT_ONCE):
        part = tokens[start : start + _POSITIONS_AT_ONCE]
        bags = np.repeat(bag[np.newaxis], len(part), axis=0)
        rows = parameters.log_probabilities(bags, contexts[start : start + len(part)])
        for token, row in zip(part, rows, strict=True):
            scored.append(_score(token, row, node, top))
            node = node.children[token] if node else None
    return scored


def _score(token: int, row: Floats, node: Trie | None, top: int) -> ScoredToken:
    ids = np.arange(len(row)) if node is None else np.array(sorted(node.children))
    log_probabilities = row[ids].astype(np.float64)
    # Over the whole vocabulary this takes off what float32 left over from one, nothing more.
    highest = log_probabilities.max()
    log_probabilities -= highest + np.log(np.exp(log_probabilities - highest).sum())
    best = np.argsort(-log_probabilities, kind="stable")[:top]
    own = log_probabilities[np.searchsorted(ids, token)]
    return ScoredToken(float(own), tuple((int(ids[place]), float(log_probabilities[place])) for place in best))
