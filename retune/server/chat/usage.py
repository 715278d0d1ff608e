"""The tokens that a request took."""

from typing import Any


def token_usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """The `usage` object; nothing is cached, spoken, predicted or thought here."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
