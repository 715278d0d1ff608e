"""Rows as arrays, and batches of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retune.trainers.conditional_lm.features import Buckets, FeatureCounts, FeatureWeights, Weights, count_features
from retune.trainers.conditional_lm.messages import Answer, Row
from retune.trainers.conditional_lm.network import CONTEXT_TOKENS, Batch, Ints
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN, AnswerTokenizer


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    """One answer to learn: the weighted features of its conversation, and its tokens.

    Attributes:
        tokens: Six times "no token yet", the answer's tokens, the end of the turn.
    """

    buckets: Buckets
    weights: Weights
    tokens: Ints


EncodedRow = tuple[EncodedAnswer, ...]


def count_row_features(rows: Iterable[Row]) -> list[list[FeatureCounts]]:
    """Count the features of the conversation before each answer, row by row."""
    return [[count_features(answer.conversation) for answer in row.answers] for row in rows]


def encode_rows(
    rows: Iterable[Row],
    features: Iterable[Sequence[FeatureCounts]],
    weights: FeatureWeights,
    tokenizer: AnswerTokenizer,
) -> list[EncodedRow]:
    """Encode rows whose features are counted already, one sequence of counts a row."""
    return [
        tuple(
            _encode(answer, counts, weights, tokenizer) for answer, counts in zip(row.answers, row_counts, strict=True)
        )
        for row, row_counts in zip(rows, features, strict=True)
    ]


def make_batch(rows: Iterable[EncodedRow]) -> Batch:
    """Put the answers of some rows together."""
    answers = [answer for row in rows for answer in row]
    buckets, weights = _feature_matrix(answers)
    lengths = [len(answer.tokens) - CONTEXT_TOKENS for answer in answers]
    windows = [np.lib.stride_tricks.sliding_window_view(answer.tokens, CONTEXT_TOKENS)[:-1] for answer in answers]
    return Batch(
        buckets=buckets,
        weights=weights,
        answer_of=np.repeat(np.arange(len(answers), dtype=np.int32), lengths),
        contexts=np.concatenate(windows),
        targets=np.concatenate([answer.tokens[CONTEXT_TOKENS:] for answer in answers]),
    )


def _feature_matrix(answers: Sequence[EncodedAnswer]) -> tuple[Buckets, NDArray[np.float32]]:
    # Dense over the few thousand buckets of the batch alone: both products with it are then plain matrix products.
    buckets, columns = np.unique(np.concatenate([answer.buckets for answer in answers]), return_inverse=True)
    lines = np.repeat(np.arange(len(answers)), [len(answer.buckets) for answer in answers])
    matrix = np.zeros((len(answers), len(buckets)), np.float32)
    matrix[lines, columns] = np.concatenate([answer.weights for answer in answers])
    return buckets, matrix


def _encode(
    answer: Answer, counts: FeatureCounts, weights: FeatureWeights, tokenizer: AnswerTokenizer
) -> EncodedAnswer:
    no_token = len(tokenizer)
    tokens = [no_token] * CONTEXT_TOKENS + tokenizer.encode(answer.text) + [END_OF_TURN]
    return EncodedAnswer(*weights.weigh(counts), np.array(tokens, np.int32))
