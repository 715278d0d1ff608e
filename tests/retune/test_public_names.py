"""`import retune`: the names that it exports, what they are, and what importing it costs.

mypy checks this file, so the types that `assert_type` names are those that a user's editor shows.
"""

import ast
import inspect
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any, assert_type

import pytest

import retune
from retune import errors

# Adding or removing a name is a decision: it belongs in the changelog.
PUBLIC = {
    "CheckProgress",
    "CheckResult",
    "DataConfig",
    "EvaluationConfig",
    "FixResult",
    "HyperparametersConfig",
    "LimitsConfig",
    "MessageRowsConfig",
    "ProviderConfig",
    "RetrainConfig",
    "SplitConfig",
    "TokenBin",
    "TrainingConfig",
    "check",
    "load_config",
    "parse_config",
}
ROWS = "".join(f"What is {n} + {n}?,The sum of {n} and {n} is {2 * n}.\n" for n in range(20, 40))
REPEATED = f"user,assistant\n{ROWS}What is 20 + 20?,The sum of 20 and 20 is 40.\n"


def source(directory: Path, rows: str = REPEATED) -> Path:
    path = directory / "faq.csv"
    path.write_text(rows, encoding="utf-8")
    return path


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ast.literal_eval(done.stdout))


def test_exported_names_are_the_public_ones_and_every_error() -> None:
    every_error = {name for name, value in vars(errors).items() if inspect.isclass(value) and name.endswith("Error")}

    assert set(retune.__all__) == PUBLIC | every_error
    assert list(retune.__all__) == sorted(retune.__all__)
    assert set(retune.__all__) <= set(dir(retune))


@pytest.mark.parametrize("name", sorted(retune.__all__))
def test_exported_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(retune, name)

    assert value.__module__.startswith("retune.")
    assert inspect.getdoc(value)


def test_unknown_name_is_refused_by_python_and_by_the_type_checker() -> None:
    with pytest.raises(AttributeError, match="module 'retune' has no attribute 'chek'"):
        retune.chek  # type: ignore[attr-defined]  # noqa: B018


def test_import_loads_only_the_errors() -> None:
    loaded = modules_after("import retune")

    assert {name for name in loaded if name.startswith("retune")} == {"retune", "retune.errors"}
    assert not loaded & {"pydantic", "numpy", "pyarrow", "asyncio"}


def test_settings_load_without_the_libraries_for_data() -> None:
    assert not modules_after("import retune; retune.load_config") & {"numpy", "pyarrow", "openai"}


def test_check_of_a_file_returns_typed_findings(tmp_path: Path) -> None:
    result = assert_type(retune.check(source(tmp_path)), retune.CheckResult)

    assert assert_type(result.ok, bool)
    assert (assert_type(result.n_errors, int), result.n_warnings > 0) == (0, True)
    assert result.n_examples == 21
    assert assert_type(result.splits, dict[str, int] | None)
    assert "duplicate_example" in {assert_type(group.kind, str) for group in result.groups}
    assert result.cost is not None
    assert assert_type(result.cost.usd, float | None) == 0
    assert assert_type(result.today, date) is not None


def test_check_of_settings_goes_by_them(tmp_path: Path) -> None:
    table = source(tmp_path, REPEATED.replace("\n", ",x\n").replace("user,assistant,x", "q,a,note"))
    config = retune.RetrainConfig(
        data=retune.DataConfig(source=str(table), user_column="q", assistant_column="a"),
        training=retune.TrainingConfig(model="gpt-4.1-mini", max_cost_usd=0),
    )

    result = retune.check(config, provider="openai")

    assert (result.provider, result.model, result.unused) == ("openai", "gpt-4.1-mini", ["note"])
    assert result.is_too_expensive
    assert isinstance(assert_type(result.refusal, retune.ConfigError | None), retune.OverBudgetError)
    assert not result.ok


def test_check_writes_the_report_and_the_fixed_file_that_it_names(tmp_path: Path) -> None:
    steps: list[str] = []
    fixed = tmp_path / "fixed.jsonl"

    def watch(progress: retune.CheckProgress) -> None:
        steps.append(progress.step)

    result = retune.check(source(tmp_path), report=tmp_path / "report.json", fix=fixed, on_progress=watch)

    assert result.report == tmp_path / "report.json"
    assert "problems" in result.report.read_text(encoding="utf-8")
    assert assert_type(result.fix, retune.FixResult | None) is not None
    assert result.fix
    assert (result.fix.path, result.fix.n_written, result.n_examples) == (fixed, 20, 20)
    assert list(dict.fromkeys(steps)) == ["reading", "repairing", "comparing"]
    with pytest.raises(retune.ConfigError, match=r"fixed\.jsonl already exists"):
        retune.check(source(tmp_path), fix=fixed)
    assert retune.check(source(tmp_path), fix=str(fixed), overwrite=True).ok


def test_check_raises_for_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(retune.SourceError, match=r"nowhere\.csv"):
        retune.check(tmp_path / "nowhere.csv")


def test_config_is_loaded_from_a_file_and_from_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "retrain.yaml"
    path.write_text("data: {source: faq.csv}\n", encoding="utf-8")

    config = assert_type(retune.load_config(str(path)), retune.RetrainConfig)

    assert config == retune.parse_config({"data": {"source": "faq.csv"}})
    assert retune.load_config(path, {"training": {"suffix": "faq"}}).training.suffix == "faq"
    assert_type(config.training.hyperparameters, retune.HyperparametersConfig)
    unknown: dict[str, Any] = {"data": {"source": "faq.csv", "user_colum": "q"}}
    with pytest.raises(retune.ConfigError, match="did you mean user_column"):
        retune.parse_config(unknown)
