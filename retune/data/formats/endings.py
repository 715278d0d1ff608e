"""Finding what the old prompt and completion files put around their texts.

OpenAI's old guide asked for a fixed separator at the end of every prompt, a space before every completion and a fixed
stop sequence after it; its tool `openai tools fine_tunes.prepare_data` added them. In chat they mean nothing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

_LONGEST = 40
_SHARE = 0.9
"""This share of the texts must end in it; the others are mistakes, and are named one by one."""

_SIGNS = r"[#=\-<>|*~_→⇒/\\$%&^@+]"
# Signs that no sentence ends with: at least two, or one after a space; or a token such as <|end|>.
_MARK = rf"(?:\s+{_SIGNS}|{_SIGNS}{{2}}){_SIGNS}*|\s*<[^<>\n]{{1,30}}>"
# A short line of its own that asks for the answer: "Summary:", "### Response:".
_LABEL = rf"\s*\n\s*{_SIGNS}*\s*\w[\w ]{{0,30}}:"
_STOP_WORD = r"\s+(?:END|STOP|DONE|EOS)"
_SEPARATOR = re.compile(rf"(?:{_MARK}|{_LABEL})?\s*\Z")
_SEPARATOR_OF_ONE = re.compile(rf"(?:{_MARK})?\s*\Z")
_STOP = re.compile(rf"(?:{_MARK}|{_STOP_WORD})?\s*\Z")


@dataclass(frozen=True, slots=True)
class Endings:
    """What is stripped of prompts and completions; empty where there is nothing.

    Attributes:
        separator: At the end of prompts.
        space: At the start of completions.
        stop: At the end of completions.
    """

    separator: str = ""
    space: str = ""
    stop: str = ""

    @classmethod
    def find(cls, prompts: Sequence[str], completions: Sequence[str]) -> Self:
        """Look for what nine in ten of these have in common."""
        return cls(
            separator=_common_end(prompts, _SEPARATOR, _SEPARATOR_OF_ONE),
            space=_common_space(completions),
            stop=_common_end(completions, _STOP, _STOP),
        )

    @property
    def title(self) -> str:
        """What is added to a format's title: what was found."""
        parts = (("separator", self.separator), ("leading space", self.space), ("stop", self.stop))
        return "".join(f", {name} {value!r}" for name, value in parts if value)


def _common_end(texts: Sequence[str], pattern: re.Pattern[str], pattern_of_one: re.Pattern[str]) -> str:
    """The longest end that most texts share and that is not part of what they say.

    Args:
        texts: The texts.
        pattern: What may be such an end, where different texts share it.
        pattern_of_one: The same, where there is only one text to go by.
    """
    different = list(dict.fromkeys(texts))
    if len(different) > 1:
        ends = Counter(_match(pattern, _common_suffix(*pair)) for pair in pairwise(different))
    else:
        ends = Counter(_match(pattern_of_one, text) for text in different)
    for end in sorted(ends, key=len, reverse=True):
        if end and sum(text.endswith(end) for text in texts) >= _SHARE * len(texts):
            return end
    return ""


def _common_space(texts: Sequence[str]) -> str:
    starts = Counter(text[: len(text) - len(text.lstrip())] for text in texts)
    space, count = starts.most_common(1)[0] if starts else ("", 0)
    return space if count >= _SHARE * len(texts) else ""


def _common_suffix(one: str, other: str) -> str:
    length = 0
    for a, b in zip(reversed(one[-_LONGEST:]), reversed(other[-_LONGEST:]), strict=False):
        if a != b:
            break
        length += 1
    return one[len(one) - length :]


def _match(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text[-_LONGEST:])
    return found.group() if found else ""
