"""The providers that differ in what they accept."""

from typing import Literal

ProviderKind = Literal["openai", "azure", "retune", "other"]
"""Whose limits training files must keep; `retune` is the project's own server."""
