"""`/v1/fine_tuning/alpha/graders`: refused, as graders belong to reinforcement fine-tuning, which no trainer offers."""

from fastapi import APIRouter

from retune.server.errors import ApiError

router = APIRouter(prefix="/fine_tuning/alpha/graders")


@router.post("/run")
@router.post("/validate")
def refuse_grader() -> None:
    """Refuse to run or validate a grader.

    Raises:
        ApiError: 400, whatever the grader.
    """
    raise ApiError(
        400,
        "Graders are not supported by this server: they belong to reinforcement fine-tuning, and its trainer offers "
        "supervised fine-tuning alone.",
        param="grader",
        code="unsupported_value",
    )
