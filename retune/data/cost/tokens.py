"""Counting tokens offline, by the rules that billed jobs and answers of the API agree with."""

import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from retune.data.cost.base_models import base_model
from retune.data.example.texts import ExampleTexts

TOKENS_PER_EXAMPLE = 1
TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1

# OpenAI's cookbook, "How to count tokens with tiktoken"; its example's counts are those of the API.
_TOKENS_PER_FUNCTION = {"o200k_base": 7, "cl100k_base": 10}
_TOKENS_OF_PARAMETERS, _TOKENS_PER_PARAMETER = 3, 3
_TOKENS_OF_CHOICES, _TOKENS_PER_CHOICE = -3, 3
_TOKENS_OF_TOOLS = 12

_LOADING = Lock()

# gpt-4o, gpt-4.1 and gpt-4.5 are later models: after "gpt-4" there must be a dash or nothing.
_CL100K_MODELS = re.compile(r"gpt-3\.5|gpt-4(-|$)|davinci-002|babbage-002")


class TokenFacts(BaseModel):
    """Tokens of some examples, each read once.

    Attributes:
        total: Of all examples.
        minimum: Of the shortest example.
        median: Half of the examples have at most this many.
        p95: 95 % of the examples have at most this many.
        maximum: Of the longest example.
        encoding: The tokenizer that counted.
        is_estimate: Whether something could not be counted by a published rule, such as images.
    """

    model_config = ConfigDict(frozen=True)

    total: int
    minimum: int
    median: float
    p95: float
    maximum: int
    encoding: str
    is_estimate: bool = False


def summarize_tokens(counts: npt.NDArray[np.uint32], encoding: str, *, is_estimate: bool = False) -> TokenFacts:
    """Sum up the token counts of examples.

    Args:
        counts: One for each example.
        encoding: The tokenizer that counted.
        is_estimate: Whether something could not be counted by a published rule, such as images.
    """
    if not len(counts):
        return TokenFacts(total=0, minimum=0, median=0, p95=0, maximum=0, encoding=encoding, is_estimate=is_estimate)
    return TokenFacts(
        total=int(counts.sum(dtype=np.int64)),
        minimum=int(counts.min()),
        median=float(np.median(counts)),
        p95=float(np.percentile(counts, 95, method="higher")),
        maximum=int(counts.max()),
        encoding=encoding,
        is_estimate=is_estimate,
    )


class TokenCounter:
    """Counts tokens exactly.

    Args:
        encoding: `o200k_base` or `cl100k_base`.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._tokenizer = _load_tokenizer(encoding)
        self._roles: dict[str, int] = {}

    def count(self, text: str) -> int:
        """Tokens of one text. A lone surrogate, which UTF-8 has not, counts as a question mark."""
        return self._tokenizer.count(text.encode(errors="replace").decode())

    def count_words(self, words: Iterable[str]) -> list[int]:
        """Tokens of each of many texts without lone surrogates."""
        return list(map(self._tokenizer.count, words))

    def count_role(self, role: str) -> int:
        """Tokens of a role's name; there are few, and they come with every message."""
        if role not in self._roles:
            self._roles[role] = self.count(role)
        return self._roles[role]


def chat_overhead_tokens(roles: Iterable[str], counter: TokenCounter) -> int:
    """Tokens of an example that are not in its messages' contents: 1, and for each message 3 and those of its role.

    With the contents' tokens this is the rule that gave the `trained_tokens` of two published jobs exactly.
    """
    return TOKENS_PER_EXAMPLE + sum(TOKENS_PER_MESSAGE + counter.count_role(role) for role in roles)


def example_overhead_tokens(texts: ExampleTexts, counter: TokenCounter) -> int:
    """The same of an example that may have more than roles and contents: names, tools, images.

    Names and tools count by OpenAI's cookbook, images by its vision guide. Of calls, the names and arguments count as
    texts; what else the model may read of them isn't published.
    """
    if not texts.roles:
        # A prompt and its completion, which are all that is billed.
        return 0
    tools = texts.tools
    total = chat_overhead_tokens(texts.roles, counter) + TOKENS_PER_NAME * texts.names + texts.image_tokens
    if not tools.functions:
        return total
    choices = sum(_TOKENS_PER_CHOICE + counter.count(choice) for parameter in tools.choices for choice in parameter)
    return (
        total
        + _TOKENS_PER_FUNCTION[counter.encoding] * tools.functions
        + _TOKENS_OF_PARAMETERS * tools.with_parameters
        + _TOKENS_PER_PARAMETER * tools.parameters
        + _TOKENS_OF_CHOICES * len(tools.choices)
        + choices
        + _TOKENS_OF_TOOLS
    )


class _Tokenizer(Protocol):
    def count(self, text: str) -> int: ...


@cache
def token_counter(encoding: str) -> TokenCounter:
    """The process's counter for an encoding."""
    return TokenCounter(encoding)


def encoding_for(model: str) -> str:
    """Name of a model's tokenizer: cl100k_base for gpt-3.5 and gpt-4, o200k_base for later and unknown ones."""
    return "cl100k_base" if _CL100K_MODELS.match(base_model(model)) else "o200k_base"


@cache
def _load_tokenizer(encoding: str) -> _Tokenizer:
    # Its public Encoding refuses texts of more than 200,000 tokens; the tokenizer underneath has no limit.
    tokenizer: _Tokenizer = _load_bindings().tokenizer_for_encoding(encoding)
    return tokenizer


def _load_bindings() -> Any:
    """The compiled part of bpe_openai, without its package, which reads three vocabularies line by line: half a second.

    It has the vocabularies in it. Whoever imports the package later gets the same module.
    """
    name = "bpe_openai._bindings"
    # The server counts in several threads.
    with _LOADING:
        if name in sys.modules:
            return sys.modules[name]
        package = find_spec("bpe_openai")
        spec = PathFinder.find_spec(name, package.submodule_search_locations) if package is not None else None
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
        return module
