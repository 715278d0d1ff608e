"""What a job's status means, in OpenAI's words and in the dialects of other hosts.

Sources of the dialects: OpenAI's API document and its `paused`; Azure (`pending`, `notRunning`, `canceled`, `deleted`);
Together's documentation (`pending` … `uploading`, `cancel_requested`, `completed`, `error`); Mistral's API document
(`QUEUED` … `FAILED_VALIDATION`, `SUCCESS`, `CANCELLATION_REQUESTED`); Fireworks (`JOB_STATE_COMPLETED`, `_EXPIRED`,
`_EARLY_STOPPED`); servers such as LocalAI's that show their phases (`loading_model`, `training`, `saving`, `stopped`).
"""

import re
from typing import Literal

from openai.types.fine_tuning import FineTuningJob

JobState = Literal["active", "succeeded", "failed", "cancelled", "unknown"]

_SUCCEEDED = "succeeded success successful completed complete done finished early_stopped"
_FAILED = (
    "failed failure error errored user_error failed_validation validation_failed rejected expired timeout timed_out"
)
_CANCELLED = "cancelled canceled stopped aborted terminated deleted"
_ACTIVE = (
    "created creating submitted pending not_running notrunning not_started scheduled waiting queued queueing "
    "re_queueing validating_files validating validated preparing provisioning initializing starting started running "
    "in_progress processing loading_model loading_dataset downloading training saving compressing uploading "
    "writing_results evaluating evaluation finalizing finishing deploying paused pausing resuming "
    "cancelling canceling cancel_requested cancellation_requested stopping"
)
_STATES: dict[str, JobState] = {
    **dict.fromkeys(_ACTIVE.split(), "active"),
    **dict.fromkeys(_SUCCEEDED.split(), "succeeded"),
    **dict.fromkeys(_FAILED.split(), "failed"),
    **dict.fromkeys(_CANCELLED.split(), "cancelled"),
}
_PREFIX = re.compile(r"^(?:job_state|job_status|state|status)_")


def job_state(job: FineTuningJob) -> JobState:
    """What the provider's status word means; `unknown` where nobody can say: such a job may well be running."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(job.status or "").strip())
    word = re.sub(r"[\s-]+", "_", word).lower()
    return _STATES.get(_PREFIX.sub("", word), "unknown")


def has_ended(job: FineTuningJob) -> bool:
    """Whether the status is final."""
    return job_state(job) in {"succeeded", "failed", "cancelled"}


def may_give_model(job: FineTuningJob) -> bool:
    """Whether the job succeeded or may still do so; one whose status nobody knows may."""
    return job_state(job) not in {"failed", "cancelled"}
