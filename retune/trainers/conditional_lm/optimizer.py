"""The optimizer: Adagrad, except for the feature embeddings.

Adagrad with a rate for every weight moves the embedding of each feature equally far at its first step, whatever the
feature weighs in its conversation: noise from a thousand rare n-grams. The feature embeddings therefore take steps in
the direction of their gradient, scaled for each of their columns by the running mean of squared gradients (the second
moment of Adam), which all rows share. On sets of a few hundred examples this answers 2 to 5 points better.
Rows that a batch does not touch have no gradient and are left alone.
"""

from dataclasses import dataclass

import numpy as np

from retune.trainers.conditional_lm.network import BAG_SIZE, Floats, Gradients, Parameters

_FEATURES_RATE = 0.8
_TOKENS_RATE = 0.3
_DENSE_RATE = 0.02
_MEMORY = np.float32(0.999)
_EPSILON = np.float32(1e-8)


@dataclass(slots=True)
class Optimizer:
    """State of the optimizer.

    Attributes:
        steps: Updates so far.
        features: Running mean of the squared gradients' sum over all rows; shape (BAG_SIZE,).
        tokens: Sum of squared gradients, and so the others, in the shapes of the parameters.
    """

    steps: int
    features: Floats
    tokens: Floats
    hidden_weights: Floats
    hidden_bias: Floats
    output_weights: Floats
    output_bias: Floats

    @classmethod
    def initial(cls, parameters: Parameters) -> "Optimizer":
        """State before the first update."""
        return cls(
            steps=0,
            features=np.zeros(BAG_SIZE, np.float32),
            tokens=np.zeros_like(parameters.tokens),
            hidden_weights=np.zeros_like(parameters.hidden_weights),
            hidden_bias=np.zeros_like(parameters.hidden_bias),
            output_weights=np.zeros_like(parameters.output_weights),
            output_bias=np.zeros_like(parameters.output_bias),
        )

    def update(self, parameters: Parameters, gradients: Gradients, rate: float) -> None:
        """Change the parameters in place; `rate` scales the steps of all of them. Uses the gradients up."""
        self.steps += 1
        self._update_features(parameters.features, gradients, rate)
        self._update_tokens(parameters.tokens, gradients, rate)
        dense = np.float32(_DENSE_RATE * rate)
        for name in ("hidden_weights", "hidden_bias", "output_weights", "output_bias"):
            gradient, squares = getattr(gradients, name), getattr(self, name)
            squares += np.square(gradient)
            gradient /= np.sqrt(squares) + _EPSILON
            gradient *= dense
            parameter = getattr(parameters, name)
            parameter -= gradient

    def _update_features(self, embeddings: Floats, gradients: Gradients, rate: float) -> None:
        self.features *= _MEMORY
        self.features += (1 - _MEMORY) * np.square(gradients.features).sum(axis=0)
        mean = self.features / (1 - _MEMORY**self.steps)
        scale = np.float32(_FEATURES_RATE * rate) / (np.sqrt(mean) + _EPSILON)
        embeddings[gradients.feature_rows] -= gradients.features * scale

    def _update_tokens(self, embeddings: Floats, gradients: Gradients, rate: float) -> None:
        rows = gradients.token_rows
        squares = self.tokens[rows] + np.square(gradients.tokens)
        self.tokens[rows] = squares
        embeddings[rows] -= np.float32(_TOKENS_RATE * rate) * gradients.tokens / (np.sqrt(squares) + _EPSILON)
