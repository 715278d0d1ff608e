"""`/v1/batches`."""

from fastapi import APIRouter

router = APIRouter(prefix="/batches")
