"""Asking Prefect for flow runs by their state."""

from prefect.client.schemas.filters import FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType


def in_states(*types: StateType) -> FlowRunFilterState:
    """Flow runs in any of these states."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
