"""Result files drawn on their own: what people still have from a provider, and what they take for one."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retune.cli.app import app
from retune.errors import RetuneError

CURRENT = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n" + "".join(
    f"{step},{2 / step:.4f},0.5,{'' if step % 2 else 0.75},{'' if step % 2 else 0.9}\n" for step in range(1, 9)
)
LEGACY = (
    "step,elapsed_tokens,elapsed_examples,training_loss,training_sequence_accuracy,training_token_accuracy,"
    "classification/accuracy,classification/precision,classification/recall,classification/auroc,"
    "classification/auprc,classification/f1.0\r\n"
    "1,25,1,0.35,0.0,0.5,,,,,,\r\n2,50,2,0.31,1.0,1.0,0.75,0.7,0.65,0.9,0.8,0.72\r\n"
)


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    def write_file(name: str, content: str | bytes) -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write_file


def plot(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["results", "plot", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def texts(path: Path) -> list[str]:
    svg = "{http://www.w3.org/2000/svg}text"
    return [element.text or "" for element in ET.fromstring(path.read_bytes()).iter(svg)]  # noqa: S314 - our own


def lines(path: Path) -> dict[str, list[str]]:
    """Names of the lines of each figure of a page."""
    text = path.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert data
    return {
        figure["name"]: [trace["name"] for trace in figure["spec"]["data"]] for figure in json.loads(data[1])["figures"]
    }


def test_a_file_becomes_a_page(write: Callable[[str, str | bytes], str], tmp_path: Path) -> None:
    said = plot(write("step_metrics.csv", CURRENT))

    assert "step_metrics: 8 steps" in said
    assert "wrote step_metrics.html" in said
    page = tmp_path / "step_metrics.html"
    assert lines(page) == {"loss": ["train", "validation"], "token_accuracy": ["train", "validation"]}
    assert "<h1>step_metrics</h1>" in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_legacy_classification_scores_have_distinct_colours(
    write: Callable[[str, str | bytes], str], tmp_path: Path
) -> None:
    said = plot(write("old.csv", LEGACY), "-o", "old.svg", "--output", "old.html")

    assert "not drawn: elapsed_tokens, elapsed_examples" in said
    scores = ["accuracy", "precision", "recall", "AUROC", "AUPRC", "F1"]
    assert lines(tmp_path / "old.html")["classification"] == scores
    written = set(texts(tmp_path / "old.svg"))
    assert {*scores, "score on validation (%), from 60%", "sequence accuracy (%)"} <= written
    assert {"old: Loss", "old: Token accuracy", "old: Sequence accuracy", "old: Classification"} <= written


@pytest.mark.parametrize(
    "content",
    [
        base64.b64encode(CURRENT.encode()),
        base64.encodebytes(CURRENT.encode()),
        base64.b64encode(CURRENT.encode()).rstrip(b"="),
        CURRENT.encode("utf-16"),
        CURRENT.replace(",", ";").replace(".", ",").encode(),
        b"\xef\xbb\xbf" + CURRENT.replace(",", "\t").encode(),
    ],
    ids=["base64", "base64 in lines", "base64 without padding", "UTF-16", "semicolons and decimal commas", "tabs"],
)
def test_the_same_metrics_written_otherwise_are_the_same(
    write: Callable[[str, str | bytes], str], tmp_path: Path, content: bytes
) -> None:
    plot(write("plain.csv", CURRENT), "-o", "plain.out.csv")
    plot(write("other.csv", content), "-o", "other.out.csv")

    assert (tmp_path / "other.out.csv").read_bytes() == (tmp_path / "plain.out.csv").read_bytes()


def test_several_files_lie_over_each_other(write: Callable[[str, str | bytes], str], tmp_path: Path) -> None:
    plot(write("a/<b>.csv", CURRENT), write("old.csv", LEGACY), "-o", "both.html", "-o", "both.png", "--dark")

    drawn = lines(tmp_path / "both.html")
    assert drawn["loss"] == ["&lt;b&gt;: train", "&lt;b&gt;: validation", "old: train"]
    assert drawn["classification/f1.0"] == ["old"]
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


def test_files_with_equal_names_are_shown_with_their_folders(
    write: Callable[[str, str | bytes], str], tmp_path: Path
) -> None:
    plot(write("a/m.csv", CURRENT), write("b/m.csv", CURRENT), "-o", "both.svg")

    assert {"a/m: train", "b/m: train", "Loss", "Token accuracy"} <= set(texts(tmp_path / "both.svg"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; expected CSV with a column step"),
        ("question,answer\na,b\n", "it has the columns question, answer"),
        ("<!DOCTYPE html><title>Sign in</title>", "it is a web page"),
        ('{"error": {"message": "gone"}}', "it begins with"),
        ("step,train_loss\n", "holds no step with a metric"),
        ("step,train_loss\n,2\n", "holds no step with a metric. The result file: 1 row of 1 left out"),
        (
            "step,train_accuracy\n1,250\n",
            "train_accuracy must hold fractions of 1, or percent from 0 to 100; row 1 has 250",
        ),
        ("step,reward\n1,2\n", "no column that can be drawn; it has reward"),
        ("step,train_loss\n1,2\n2,high\n", "column train_loss must hold numbers; its row 2 has 'high'"),
        (b"PK\x03\x04\x00\x00", "it begins with"),
    ],
)
def test_what_is_not_a_result_file_is_refused_by_name(
    write: Callable[[str, str | bytes], str], tmp_path: Path, content: bytes | str, says: str
) -> None:
    name = write("given.csv", content)

    with pytest.raises(RetuneError, match=re.escape(says)) as caught:
        plot(name)

    assert "given.csv" in caught.value.message
    assert "CSV with a column step" in f"{caught.value.message} {caught.value.hint}"
    assert [path.name for path in tmp_path.iterdir()] == ["given.csv"]


def test_what_is_left_out_of_a_file_is_said(write: Callable[[str, str | bytes], str], tmp_path: Path) -> None:
    content = "step,train_loss,train_accuracy,valid_loss,reward\n1,2,50,,1\n1,1,75,,1\n,1,80,,1\n2,1,90,,1\n"

    said = " ".join(plot(write("m.csv", content), "-o", "m.out.csv").split())

    assert "m: 2 steps" in said
    assert "1 row of 4 left out, first row 3: step must be a whole number, 0 or more." in said
    assert "train_loss has several values in 1 step" in said
    assert "train_accuracy is in percent (up to 90); its values were divided by 100." in said
    assert "not drawn: reward" in said
    assert "without a value: valid_loss" in said
    assert "0.75" in (tmp_path / "m.out.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.csv"], "Can't read missing.csv: No such file"),
        (["m.csv", "-o", "m.pdf"], "must end in one of .html, .png, .svg, .csv"),
        (["m.csv", "-o", "./m.csv"], "is one of the files to draw"),
        (["m.csv", "m.csv", "-o", "both.csv"], "would hold the metrics of 2 jobs"),
        (["m.csv"] * 7, "at most 6 can be told apart"),
        (["m.csv", "-o", "/proc/nowhere/m.svg"], "Can't write /proc/nowhere/m.svg"),
    ],
)
def test_impossible_plots_are_refused(
    write: Callable[[str, str | bytes], str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    write("m.csv", CURRENT)

    with pytest.raises(RetuneError, match=re.escape(says)):
        plot(*arguments)

    assert (tmp_path / "m.csv").read_text() == CURRENT
