"""The network: parameters, forward pass and gradients.

For one answer token, with `bag` the weighted sum of the conversation's feature embeddings and `context` the
embeddings of the six answer tokens before it, side by side:

    hidden = relu([bag, context] · hidden_weights + hidden_bias)
    logits = [hidden, bag] · output_weights + output_bias
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retune.trainers.conditional_lm.features import N_BUCKETS, Buckets

CONTEXT_TOKENS = 6
BAG_SIZE = 64
TOKEN_SIZE = 32
HIDDEN_SIZE = 256

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_CONTEXT_SIZE = CONTEXT_TOKENS * TOKEN_SIZE
# A position costs a few arrays of vocabulary size: 16 MB each for 1,024 of them, however long an answer is.
_POSITIONS_AT_ONCE = 1024


class Batch(NamedTuple):
    """Answers to learn, with their conversations.

    Attributes:
        buckets: Buckets that occur in the batch, each once; shape (U,).
        weights: Feature weights; shape (answers, U).
        answer_of: For each target, the row of `weights` that it belongs to; shape (positions,).
        contexts: The six tokens before each target, the nearest last; shape (positions, CONTEXT_TOKENS).
        targets: Token ids; shape (positions,).
    """

    buckets: Buckets
    weights: Floats
    answer_of: Ints
    contexts: Ints
    targets: Ints


@dataclass(slots=True)
class Parameters:
    """All weights, float32.

    Attributes:
        features: Embedding of each bucket; shape (N_BUCKETS, BAG_SIZE).
        tokens: Embedding of each token and, last, of "no token yet"; shape (vocabulary + 1, TOKEN_SIZE).
        hidden_weights: Shape (BAG_SIZE + CONTEXT_TOKENS · TOKEN_SIZE, HIDDEN_SIZE).
        hidden_bias: Shape (HIDDEN_SIZE,).
        output_weights: Shape (HIDDEN_SIZE + BAG_SIZE, vocabulary).
        output_bias: Shape (vocabulary,).
    """

    features: Floats
    tokens: Floats
    hidden_weights: Floats
    hidden_bias: Floats
    output_weights: Floats
    output_bias: Floats

    @staticmethod
    def shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
        """Shape of every array for a vocabulary of so many tokens."""
        return {
            "features": (N_BUCKETS, BAG_SIZE),
            "tokens": (vocabulary + 1, TOKEN_SIZE),
            "hidden_weights": (BAG_SIZE + _CONTEXT_SIZE, HIDDEN_SIZE),
            "hidden_bias": (HIDDEN_SIZE,),
            "output_weights": (HIDDEN_SIZE + BAG_SIZE, vocabulary),
            "output_bias": (vocabulary,),
        }

    @classmethod
    def initial(cls, vocabulary: int, rng: np.random.Generator) -> "Parameters":
        """Random weights; He et al. (2015) for the hidden layer, the rest small, as measured to learn best."""
        shapes = cls.shapes(vocabulary)

        def normal(name: str, deviation: float) -> Floats:
            return rng.standard_normal(shapes[name], np.float32) * np.float32(deviation)

        return cls(
            features=normal("features", 0.1),
            tokens=normal("tokens", 1.5),
            hidden_weights=normal("hidden_weights", (2 / (BAG_SIZE + _CONTEXT_SIZE)) ** 0.5),
            hidden_bias=np.zeros(shapes["hidden_bias"], np.float32),
            output_weights=normal("output_weights", 0.05),
            output_bias=np.zeros(shapes["output_bias"], np.float32),
        )

    @property
    def no_token(self) -> int:
        """Id that stands for "no token yet" before an answer's first tokens."""
        return len(self.tokens) - 1

    def log_probabilities(self, bags: Floats, contexts: Ints) -> Floats:
        """Log-probability of every token; bags (positions, BAG_SIZE) → (positions, vocabulary)."""
        return _forward(self, bags, contexts).log_probabilities


@dataclass(slots=True)
class Gradients:
    """Gradients of the mean loss; `features` and `tokens` hold the rows named beside them alone."""

    feature_rows: Buckets
    features: Floats
    token_rows: Ints
    tokens: Floats
    hidden_weights: Floats
    hidden_bias: Floats
    output_weights: Floats
    output_bias: Floats


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over positions: cross-entropy in nats, arg-max hits, and how many positions there were."""

    loss: float = 0.0
    hits: int = 0
    positions: int = 0

    @property
    def mean_loss(self) -> float:
        """Mean cross-entropy, in nats a token."""
        return self.loss / self.positions

    @property
    def accuracy(self) -> float:
        """Fraction of tokens whose arg-max was right."""
        return self.hits / self.positions

    def __add__(self, other: "Score") -> "Score":
        return Score(self.loss + other.loss, self.hits + other.hits, self.positions + other.positions)


def score(parameters: Parameters, batch: Batch, positions_at_once: int = _POSITIONS_AT_ONCE) -> Score:
    """Loss and accuracy of a batch."""
    bags = batch.weights @ parameters.features[batch.buckets]
    total = Score()
    for part in _parts(batch, positions_at_once):
        pass_ = _forward(parameters, bags[batch.answer_of[part]], batch.contexts[part])
        total += _score(pass_.log_probabilities, batch.targets[part])
    return total


def score_and_gradients(
    parameters: Parameters, batch: Batch, positions_at_once: int = _POSITIONS_AT_ONCE
) -> tuple[Score, Gradients]:
    """Loss and accuracy of a batch, and the gradients of its mean loss."""
    bags = batch.weights @ parameters.features[batch.buckets]
    bag_gradients = np.zeros_like(bags)
    sums = Parameters(
        features=np.empty((0, BAG_SIZE), np.float32),
        tokens=np.zeros_like(parameters.tokens),
        hidden_weights=np.zeros_like(parameters.hidden_weights),
        hidden_bias=np.zeros_like(parameters.hidden_bias),
        output_weights=np.zeros_like(parameters.output_weights),
        output_bias=np.zeros_like(parameters.output_bias),
    )
    total = Score()
    for part in _parts(batch, positions_at_once):
        answer_of, contexts, targets = batch.answer_of[part], batch.contexts[part], batch.targets[part]
        pass_ = _forward(parameters, bags[answer_of], contexts)
        total += _score(pass_.log_probabilities, targets)
        logit_gradients = np.exp(pass_.log_probabilities)
        logit_gradients[np.arange(len(targets)), targets] -= 1
        logit_gradients /= len(batch.targets)
        input_gradients = _backward(parameters, pass_, logit_gradients, sums)
        np.add.at(bag_gradients, answer_of, input_gradients[:, :BAG_SIZE])
        np.add.at(sums.tokens, contexts.reshape(-1), input_gradients[:, BAG_SIZE:].reshape(-1, TOKEN_SIZE))
    token_rows = np.unique(batch.contexts)
    return total, Gradients(
        feature_rows=batch.buckets,
        features=batch.weights.T @ bag_gradients,
        token_rows=token_rows,
        tokens=sums.tokens[token_rows],
        hidden_weights=sums.hidden_weights,
        hidden_bias=sums.hidden_bias,
        output_weights=sums.output_weights,
        output_bias=sums.output_bias,
    )


class _Pass(NamedTuple):
    inputs: Floats
    outputs: Floats
    log_probabilities: Floats


def _forward(parameters: Parameters, bags: Floats, contexts: Ints) -> _Pass:
    context = parameters.tokens[contexts].reshape(len(contexts), _CONTEXT_SIZE)
    inputs = np.concatenate([bags, context], axis=1)
    hidden = inputs @ parameters.hidden_weights
    hidden += parameters.hidden_bias
    np.maximum(hidden, 0, out=hidden)
    outputs = np.concatenate([hidden, bags], axis=1)
    logits = outputs @ parameters.output_weights
    logits += parameters.output_bias
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return _Pass(inputs, outputs, logits)


def _backward(parameters: Parameters, pass_: _Pass, logit_gradients: Floats, sums: Parameters) -> Floats:
    """Add the dense layers' gradients to `sums`; return those of the inputs, (positions, bag and context)."""
    sums.output_weights += pass_.outputs.T @ logit_gradients
    sums.output_bias += logit_gradients.sum(axis=0)
    output_gradients = logit_gradients @ parameters.output_weights.T
    hidden_gradients = np.where(pass_.outputs[:, :HIDDEN_SIZE] > 0, output_gradients[:, :HIDDEN_SIZE], np.float32(0))
    sums.hidden_weights += pass_.inputs.T @ hidden_gradients
    sums.hidden_bias += hidden_gradients.sum(axis=0)
    input_gradients: Floats = hidden_gradients @ parameters.hidden_weights.T
    input_gradients[:, :BAG_SIZE] += output_gradients[:, HIDDEN_SIZE:]
    return input_gradients


def _score(log_probabilities: Floats, targets: Ints) -> Score:
    chosen = log_probabilities[np.arange(len(targets)), targets]
    hits = np.count_nonzero(log_probabilities.argmax(axis=1) == targets)
    return Score(-float(chosen.sum(dtype=np.float64)), int(hits), len(targets))


def _parts(batch: Batch, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, len(batch.targets), size)]
