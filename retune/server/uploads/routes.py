"""`/v1/uploads`."""

from fastapi import APIRouter

router = APIRouter(prefix="/uploads")
