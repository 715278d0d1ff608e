"""Show the result of a check in Prefect's UI: one artifact a source, whose versions are its history."""

from datetime import UTC, datetime

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException

from retune.config import DataConfig
from retune.results.links import artifact_name
from retune.results.markdown import escape
from retune.watch.files import source_hash
from tasks.runtime.watch_state import WatchResult


def watch_artifact_key(data: DataConfig) -> str:
    """Key of a source's artifact."""
    return f"data-{artifact_name(data.label)}-{source_hash(data)[:8]}"


@task(cache_policy=NO_CACHE, persist_result=False)
async def publish_watch_result(data: DataConfig, result: WatchResult) -> None:
    """Publish the result as a small table; a failure is only logged."""
    if result.snapshot is None:
        return
    try:
        await acreate_markdown_artifact(
            key=watch_artifact_key(data),
            markdown=_markdown(data, result),
            description=f"What was seen of {escape(data.label)}",
        )
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("The result could not be published as an artifact: %s", error)


def _markdown(data: DataConfig, result: WatchResult) -> str:
    snapshot = result.snapshot
    rows = {
        "Source": snapshot.source if snapshot else "",
        "Seen": snapshot.what if snapshot else "",
        "Checked at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "New examples": "not counted" if result.n_new is None else f"{result.n_new:,}",
        "Examples": "not counted" if result.n_examples is None else f"{result.n_examples:,}",
        "Fingerprint": (snapshot.fingerprint[:16] if snapshot else "") or "none",
    }
    if result.event_id:
        rows["Event"] = result.event_id
    table = "\n".join(f"| {name} | {escape(value)} |" for name, value in rows.items())
    consequence = result.consequence[0].upper() + result.consequence[1:]
    return f"# {escape(data.label)}\n\n**{consequence}.**\n\n| | |\n|---|---|\n{table}\n"
