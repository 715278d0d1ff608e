import pickle

import pytest

from retune import errors
from retune.errors import CheckError, JobFailedError, RetuneError


def test_a_hint_follows_the_message() -> None:
    error = CheckError("7 examples found, 10 are needed.", hint="Add three.")
    assert str(error) == "7 examples found, 10 are needed. Add three."
    assert isinstance(error, ValueError)


def test_errors_survive_pickling_with_all_they_know() -> None:
    error = JobFailedError("no", job_id="ftjob-1", code="invalid_training_file", param="training_file", hint="mend it")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is JobFailedError
    assert (copy.message, copy.hint, copy.job_id, copy.code, copy.param) == (
        "no",
        "mend it",
        "ftjob-1",
        "invalid_training_file",
        "training_file",
    )


@pytest.mark.parametrize(
    "kind", [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RetuneError)]
)
def test_the_tree_at_the_top_of_the_file_names_every_error(kind: type[RetuneError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
