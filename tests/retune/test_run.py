import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.config import RetrainConfig
from retune.config_file import parse_config
from retune.errors import RunDirectoryError
from retune.run import Run, compute_run_key, exclusive, open_run


def configuration(**settings: Any) -> RetrainConfig:
    return parse_config({"data": {"source": "tickets.csv"}, **settings})


def open_here(config: RetrainConfig, data: str = "d1") -> Run:
    return open_run(config, data_sha256=data, provider_identity="local")


def key(config: RetrainConfig, data: str = "d1", provider: str = "local") -> str:
    return compute_run_key(config, data_sha256=data, provider_identity=provider)


@pytest.mark.parametrize(
    "settings",
    [
        {"split": {"seed": 43}},
        {"training": {"hyperparameters": {"n_epochs": 2}}},
        {"training": {"suffix": "other"}},
        {"training": {"seed": 43}},
        {"attempt": "again"},
    ],
)
def test_what_changes_the_model_changes_the_key(settings: dict[str, Any]) -> None:
    assert key(configuration(**settings)) != key(configuration())


def test_data_and_provider_change_the_key() -> None:
    assert len({key(configuration()), key(configuration(), data="d2"), key(configuration(), provider="api")}) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"output_dir": "elsewhere"},
        {"evaluation": {"concurrency": 2}},
        {"training": {"poll_interval_seconds": 5}},
        {"training": {"max_cost_usd": 5}},
        {"training": {"approve_above_usd": 5}},
        {"provider": {"base_url": "http://127.0.0.1:4711/v1"}},
    ],
)
def test_what_does_not_change_the_model_leaves_the_key(settings: dict[str, Any]) -> None:
    assert key(configuration(**settings)) == key(configuration())


def test_running_again_opens_the_same_directory() -> None:
    first = open_here(configuration())
    assert open_here(configuration()) == first
    assert first.path("run.json").exists()


def test_a_directory_that_was_deleted_is_another_one() -> None:
    first = open_here(configuration())
    first.path("run.json").unlink()
    assert open_here(configuration()).directory_id != first.directory_id


def test_another_run_s_directory_is_left_alone(tmp_path: Path) -> None:
    config = configuration(output_dir=tmp_path / "out")
    open_here(config, data="d1")
    before = (tmp_path / "out" / "run.json").read_bytes()
    with pytest.raises(RunDirectoryError, match="holds another run"):
        open_here(config, data="d2")
    assert (tmp_path / "out" / "run.json").read_bytes() == before


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(RunDirectoryError, match="is not empty"):
        open_here(configuration(output_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_where_the_directory_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunDirectoryError, match="Can't write the run's directory"):
        open_here(configuration(output_dir=tmp_path / "out"))


@given(suffix=st.text(min_size=1, max_size=64))
def test_no_suffix_leads_out_of_the_runs_directory(suffix: str) -> None:
    run = open_here(configuration(training={"suffix": suffix}))
    assert run.directory.parent.name == "runs"
    assert run.directory.resolve() == run.directory


def test_two_processes_never_work_on_one_run(tmp_path: Path) -> None:
    run = open_here(configuration())
    program = f"""
import sys, fcntl
lock = open({str(run.path(".lock"))!r}, "a"); fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True); sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(RunDirectoryError, match="Another process"), exclusive(run):
            pass
        other.kill()
        other.communicate()
    with exclusive(run):
        pass


def test_what_was_paid_for_outlives_the_rest_of_the_directory(tmp_path: Path) -> None:
    config = configuration(output_dir=tmp_path / "out")
    first = open_here(config)
    first.path("job_attempts.json").write_text("{}")
    first.path("run.json").unlink()
    assert open_here(config).directory_id != first.directory_id
    assert first.path("job_attempts.json").exists()
