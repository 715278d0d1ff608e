"""Keys, and cells that say splits, which only rows after the first hundred have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retune.config import DataConfig, RetrainConfig, SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.ingest.load import LoadOptions, load_examples
from retune.errors import SourceError
from retune.watch.example_hashes import read_hashes

N_EARLY, N_LATE = 120, 30
Load = Callable[..., ExampleStore]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(source: Path, split: SplitConfig | None = None, **data: Any) -> ExampleStore:
        options = LoadOptions(model="baseline-text", counts_tokens=False)
        return load_examples(
            DataConfig(source=str(source), **data),
            split or SplitConfig(),
            options,
            tmp_path / f"store of {source.name}",
        )

    return load


def write_rows(path: Path, make: Callable[[int], dict[str, Any]], late: dict[str, Any]) -> Path:
    rows = [{**make(number), **(late if number >= N_EARLY else {})} for number in range(N_EARLY + N_LATE)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(number: int) -> dict[str, Any]:
    return {"question": f"where is parcel {number}", "answer": f"in town {number}"}


def instruction(number: int) -> dict[str, Any]:
    return {"instruction": f"translate {number}", "output": f"done {number}"}


def chat(number: int) -> dict[str, Any]:
    texts = (("user", f"where is parcel {number}"), ("assistant", f"in town {number}"))
    return {"messages": [{"role": role, "content": content} for role, content in texts]}


def shared(number: int) -> dict[str, Any]:
    texts = (("human", f"where is parcel {number}"), ("gpt", f"in town {number}"))
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in texts]}


def contents(store: ExampleStore) -> list[list[str]]:
    return [[message["content"] for message in json.loads(line)["messages"]] for line in store.lines()]


def warned(store: ExampleStore) -> set[str]:
    return {group.kind for group in store.facts.problem_groups}


@pytest.mark.parametrize("make", [pair, chat, shared])
def test_a_system_prompt_of_later_rows_is_read(load: Load, tmp_path: Path, make: Callable[[int], Any]) -> None:
    source = write_rows(tmp_path / "a.jsonl", make, {"system": "Be brief."})

    store = load(source)

    found = contents(store)
    assert [len(texts) for texts in found] == [2] * N_EARLY + [3] * N_LATE
    assert {texts[0] for texts in found[N_EARLY:]} == {"Be brief."}
    assert "unused_column" not in warned(store)
    assert store.facts.unused == []


def test_earlier_turns_of_later_rows_are_read(load: Load, tmp_path: Path) -> None:
    store = load(write_rows(tmp_path / "a.jsonl", pair, {"history": [["hi", "hello"]]}))

    assert contents(store)[-1][:2] == ["hi", "hello"]
    assert [len(texts) for texts in contents(store)] == [2] * N_EARLY + [4] * N_LATE


def test_what_later_instructions_are_about_is_read(load: Load, tmp_path: Path) -> None:
    store = load(write_rows(tmp_path / "a.jsonl", instruction, {"input": "the text"}))

    assert contents(store)[0][0] == "translate 0"
    assert contents(store)[-1][0] == f"translate {N_EARLY + N_LATE - 1}\n\nthe text"


def test_a_key_of_later_rows_that_nothing_reads_is_named_with_what_reads_it(load: Load, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", pair, {"context": "the shop"})

    [group] = [group for group in load(source).facts.problem_groups if group.kind == "unused_column"]

    assert "--user-template '{context} {question}' --assistant-column answer" in group.first[0].message
    again = tmp_path / "b.jsonl"
    source.rename(again)
    store = load(again, user_template="{context} {question}", assistant_column="answer")
    assert contents(store)[-1][0] == f"the shop where is parcel {N_EARLY + N_LATE - 1}"


@pytest.mark.parametrize("make", [pair, chat])
@pytest.mark.parametrize("late", [{"split": "test"}, {"is_test": True}, {"trainOrTest": "Held-out"}])
def test_a_test_set_of_later_rows_is_held_out(
    load: Load, tmp_path: Path, make: Callable[[int], Any], late: dict[str, Any]
) -> None:
    store = load(write_rows(tmp_path / "a.jsonl", make, late))

    assert store.column("side").tolist() == [0] * N_EARLY + [SPLITS.index("test")] * N_LATE


def test_a_split_of_later_rows_can_be_named(load: Load, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", pair, {"part": "test"})

    store = load(source, SplitConfig(method=SplitMethod.COLUMN, column="part"))

    assert store.column("side").tolist() == [0] * N_EARLY + [SPLITS.index("test")] * N_LATE
    assert store.facts.problem_groups == []


@pytest.mark.parametrize("first", ["", "a"])
def test_cells_of_a_table_that_name_splits_late_are_found(load: Load, tmp_path: Path, first: str) -> None:
    rows = [(number, first if number < N_EARLY else "test") for number in range(N_EARLY + N_LATE)]
    source = tmp_path / "a.csv"
    source.write_text("question,answer,split\n" + "".join(f"what {n},that {n},{cell}\n" for n, cell in rows))

    store = load(source)

    assert store.column("side").tolist() == [0] * N_EARLY + [SPLITS.index("test")] * N_LATE
    n_unknown = {group.kind: group.count for group in store.facts.problem_groups}.get("unknown_split", 0)
    assert n_unknown == (N_EARLY if first else 0)


def test_a_second_file_has_what_the_first_one_lacks(load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, beside in (("a", {}), ("b", {"split": "test", "system": "Be brief."})):
        rows = [{**pair(number), **beside, "answer": name} for number in range(150)]
        rows = [{**row, "question": f"{name} {row['question']}"} for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    store = load(folder)

    assert store.column("side").tolist() == [0] * 150 + [SPLITS.index("test")] * 150
    assert [len(texts) for texts in contents(store)] == [2] * 150 + [3] * 150


def test_a_system_prompt_may_name_a_key_of_later_rows(load: Load, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", chat, {"shop": "Books"})

    found = contents(load(source, system="{shop}"))

    assert [len(texts) for texts in found] == [2] * N_EARLY + [3] * N_LATE
    assert found[-1][0] == "Books"


def test_a_system_prompt_that_names_what_is_not_a_column_is_refused(load: Load, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", pair, {"shop": "Books"})

    with pytest.raises(SourceError, match=r"names {shp}, and there is no column \"shp\".*question, answer"):
        load(source, system="You answer for {shp}.")


@pytest.mark.parametrize(
    "system", ['Answer as {"a": 1}.', "Say {{shp}}.", r"Put it in \boxed{result}.", "Not { shp }.", "Pay ${AMOUNT}."]
)
def test_braces_that_name_no_column_stay_text(load: Load, tmp_path: Path, system: str) -> None:
    store = load(write_rows(tmp_path / "a.jsonl", pair, {}), system=system)

    assert contents(store)[0][0] == system


def test_a_watched_source_is_read_as_it_is_for_training(tmp_path: Path) -> None:
    def count(late: dict[str, Any]) -> Any:
        source = write_rows(tmp_path / "a.jsonl", pair, late)
        return read_hashes(RetrainConfig(data=DataConfig(source=str(source)))).hashes

    without, with_system = count({}), count({"system": "Be brief."})

    assert len({*without.tolist()} & {*with_system.tolist()}) == N_EARLY
    assert len(with_system) == N_EARLY + N_LATE
