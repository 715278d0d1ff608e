"""Whatever habits a provider has, alone and in pairs: one paid job, and its model.

`RETUNE_BILLING_SEEDS=5000` tries more pairs.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from billing_account import Habits
from billing_machines import Scene
from billing_provider import Provider, billing_provider

SEEDS = int(os.environ.get("RETUNE_BILLING_SEEDS", "200"))
AT_ONCE = 20
DIALECTS = (
    {"validating_files": "pending", "succeeded": "completed", "cancelled": "canceled"},
    {"validating_files": "QUEUED", "running": "RUNNING", "succeeded": "SUCCESS", "cancelled": "CANCELLED"},
    {"validating_files": "JOB_STATE_CREATING", "running": "JOB_STATE_RUNNING", "succeeded": "JOB_STATE_COMPLETED"},
    {"running": "reticulating_splines"},
)
HABITS = {
    "good": Habits(),
    "500 after making it": Habits(lost_answers=1),
    "502 twice": Habits(lost_answers=1, lost_as="502", refused_jobs=1, refused_as="503"),
    "drops the answer": Habits(lost_answers=1, lost_as="drop"),
    "a page instead of an answer": Habits(lost_answers=1, lost_as="html"),
    "the list lags": Habits(list_lag_seconds=25),
    "the list lags for minutes": Habits(list_lag_seconds=400),
    "ids lag": Habits(retrieve_lag_seconds=15),
    "the list shows old states": Habits(shows_old_states=True),
    "no times": Habits(has_times=False, keeps_metadata=False),
    "pages overlap": Habits(page_overlap=1),
    "the list shifts": Habits(shifts=True),
    "has_more is missing": Habits(has_more="missing"),
    "has_more is always true": Habits(has_more="true"),
    "has_more is always false": Habits(has_more="false"),
    "the cursor is ignored": Habits(ignores_cursor=True),
    "no metadata": Habits(keeps_metadata=False),
    "no filter": Habits(filters=False),
    "files are forgotten": Habits(forgets_files=True),
    "strangers on the same file": Habits(strangers=2),
    "150 newer jobs": Habits(newer_jobs=150),
    **{f"dialect {number}": Habits(dialect=dialect) for number, dialect in enumerate(DIALECTS)},
    "429": Habits(limits="plain"),
    "429 with Retry-After": Habits(limits="retry-after"),
    "no credit at first": Habits(refused_jobs=1, refused_as="quota"),
    "503 without making it": Habits(refused_jobs=1, refused_as="503"),
    "items come twice": Habits(repeats_items=True),
    "oldest first": Habits(oldest_first=True),
    "no list (404)": Habits(no_list=404),
    "no list (501)": Habits(no_list=501),
    "no events": Habits(has_events=False),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with billing_provider(slow_answer_seconds=0.5) as provider:
        yield provider


async def one_job(provider: Provider, habits: Habits, place: Path, seed: int) -> None:
    """Run to the end, run again, and run on another machine: one paid job."""
    chance = random.Random(seed)
    kills = chance.choice([[], [], [], ["before"], ["after"], ["before", "after"]])
    async with Scene(provider, Habits(**habits.__dict__), place, seed) as scene:
        account = scene.account
        machine = scene.machine(kills=kills)
        job = await machine.run_until_done()
        assert account.paid == account.paid_for == [job.id], machine.said
        assert job.fine_tuned_model
        assert not account.strangers_cancelled
        if seed % 3 == 0:
            again = await scene.machine().run_until_done()
            assert (again.id, account.paid) == (job.id, [job.id])
        if seed % 3 != 1:
            return
        if habits.no_list or (habits.forgets_files and not habits.keeps_metadata):
            return  # Only the run's directory knows.
        scene.clock.ahead += habits.list_lag_seconds
        elsewhere = scene.machine("elsewhere")
        found = await elsewhere.run_until_done()
        assert (found.id, account.paid) == (job.id, [job.id]), elsewhere.said
        assert not account.strangers_cancelled


@pytest.mark.parametrize("name", HABITS)
async def test_one_job_is_paid_for_with_each_bad_habit(provider: Provider, tmp_path: Path, name: str) -> None:
    await one_job(provider, HABITS[name], tmp_path, seed=list(HABITS).index(name))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
async def test_one_job_is_paid_for_with_pairs_of_bad_habits(provider: Provider, tmp_path: Path, first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        chance = random.Random(seed)
        one, other = chance.sample(sorted(HABITS), 2)
        try:
            await one_job(provider, HABITS[one].with_others(HABITS[other]), tmp_path / str(seed), seed)
        except BaseException as error:
            error.add_note(f"seed {seed}: {one!r} and {other!r}")
            raise
