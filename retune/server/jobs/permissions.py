"""`/v1/fine_tuning/checkpoints/{checkpoint}/permissions`."""

from fastapi import APIRouter

router = APIRouter(prefix="/fine_tuning/checkpoints")
