"""`/v1/completions`: the legacy completions of prompt and completion models."""

from fastapi import APIRouter

router = APIRouter(prefix="/completions")
