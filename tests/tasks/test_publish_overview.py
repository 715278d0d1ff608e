"""The overview in a real Prefect API."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from retune.results.markdown import MOST_BYTES
from tasks.publish_overview import publish_overview

COMPLETE = Path(__file__).parents[1] / "support" / "manifest.json"


def write_manifest(directory: Path, number: int, name: str, exact_match: float) -> None:
    run = directory / "runs" / f"run-{number}"
    run.mkdir(parents=True)
    manifest = json.loads(COMPLETE.read_bytes())
    manifest["completed_at"] = f"2026-01-{number:02}T03:00:00+00:00"
    manifest["config"]["training"]["suffix"] = name
    [row] = [row for row in manifest["evaluation"]["comparison"] if row["name"] == "exact_match"]
    row["fine_tuned"] = exact_match
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


async def test_the_artifact_shows_each_model_with_its_score_now_and_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNE_HOME", str(tmp_path))
    write_manifest(tmp_path, 1, "tickets|<b>", 0.5)
    write_manifest(tmp_path, 2, "tickets|<b>", 0.75)
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "manifest.json").write_text("{", encoding="utf-8")
    assert await publish_overview() == 2
    async with get_client() as client:
        artifacts = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["overview"]))
        )
    text = str(artifacts[0].data)
    assert "2026-01-02 03:00 | 75.0% | 50.0% | 2 |" in text
    assert "<b>" not in text
    assert "1 more have manifests that can't be read" in text
    assert "![Exact match over time](data:image/svg+xml;base64," in text
    assert len(text.encode()) <= MOST_BYTES
