"""Retune's default trainer beside scikit-learn's TF-IDF and logistic regression, on the same rows.

    python benchmarks/baseline_trainer.py                # the test file of banking77
    python benchmarks/baseline_trainer.py --split 0.1    # a tenth of the training file held out instead

Each contender runs in a process of its own, held to one core for its matrix products, so that peak memory is its own.
Retune trains with its automatic hyperparameters. scikit-learn's C is the best of 1, 10 and 100 on these test rows,
which flatters it. Both answer the test rows one by one, as a server does.
"""

import argparse
import csv
import json
import multiprocessing
import os
import pickle
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BANKING77 = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77"

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Result:
    """What one contender did.

    Attributes:
        peak_megabytes: The process's largest resident memory, Python and libraries included.
    """

    exact_match: float
    train_seconds: float
    seconds_an_epoch: float | None
    milliseconds_an_answer: float
    peak_megabytes: float
    model_megabytes: float


def read_rows(path: Path) -> Rows:
    """Text and category of each line of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [(line["text"], line["category"]) for line in csv.DictReader(stream)]


def run_retune(train_rows: Rows, test_rows: Rows, seed: int) -> Result:
    """Train and question Retune's default trainer."""
    from retune.trainers.base import RequestedHyperparameters, TrainingTask
    from retune.trainers.registry import default_trainer

    trainer = default_trainer()
    numbers = trainer.resolve_hyperparameters(RequestedHyperparameters(), n_examples=len(train_rows))
    with tempfile.TemporaryDirectory() as name:
        training_file = Path(name) / "train.jsonl"
        training_file.write_text("".join(json.dumps(example(*row)) + "\n" for row in train_rows), encoding="utf-8")
        task = TrainingTask(
            training_file=training_file, directory=Path(name) / "job", hyperparameters=numbers, seed=seed
        )
        started = time.perf_counter()
        *_, end = trainer.train(task)
        train_seconds = time.perf_counter() - started
        assert end.kind == "finished"
        model = trainer.load(end.directory)
        model_bytes = sum(path.stat().st_size for path in end.directory.iterdir())

    def answer(text: str) -> str:
        return model.complete([{"role": "user", "content": text}], temperature=0).content

    return judge(answer, test_rows, train_seconds, numbers.n_epochs, model_bytes)


def example(text: str, category: str) -> dict[str, object]:
    """A row as a line of chat JSONL."""
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": category}]}


def run_words(train_rows: Rows, test_rows: Rows, seed: int) -> Result:
    """Train and question scikit-learn on word 1–2-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return run_logistic_regression(TfidfVectorizer(ngram_range=(1, 2)), train_rows, test_rows, seed)


def run_words_and_characters(train_rows: Rows, test_rows: Rows, seed: int) -> Result:
    """Train and question scikit-learn on the same kinds of features that Retune's trainer uses."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2))
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    return run_logistic_regression(make_union(words, characters), train_rows, test_rows, seed)


def run_logistic_regression(vectorizer: object, train_rows: Rows, test_rows: Rows, seed: int) -> Result:
    """Train and question a logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000, random_state=seed))
    started = time.perf_counter()
    model.fit([text for text, _ in train_rows], [category for _, category in train_rows])
    train_seconds = time.perf_counter() - started
    return judge(lambda text: str(model.predict([text])[0]), test_rows, train_seconds, None, len(pickle.dumps(model)))


def judge(
    answer: Callable[[str], str], test_rows: Rows, train_seconds: float, n_epochs: int | None, model_bytes: int
) -> Result:
    """Question a model and put its figures together."""
    started = time.perf_counter()
    right = sum(answer(text) == category for text, category in test_rows)
    answer_seconds = time.perf_counter() - started
    return Result(
        exact_match=right / len(test_rows),
        train_seconds=train_seconds,
        seconds_an_epoch=train_seconds / n_epochs if n_epochs else None,
        milliseconds_an_answer=1000 * answer_seconds / len(test_rows),
        peak_megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        model_megabytes=model_bytes / 1e6,
    )


CONTENDERS = {
    "Retune (auto)": run_retune,
    "scikit-learn, words": run_words,
    "scikit-learn, words + characters": run_words_and_characters,
}


def compare(train_rows: Rows, test_rows: Rows, seed: int) -> dict[str, Result]:
    """Run the contenders one after the other, each in a fresh process."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # inherited by the processes; Retune's server trains so, too
    results = {}
    for name, run in CONTENDERS.items():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            results[name] = process.submit(run, train_rows, test_rows, seed).result()
    return results


def print_table(results: dict[str, Result]) -> None:
    """One line a contender, then Retune's figures as multiples of each rival's."""
    line = "{:<44}{:>12}{:>10}{:>12}{:>13}{:>10}{:>10}".format
    print(line("", "exact match", "train s", "s an epoch", "ms an answer", "peak MB", "model MB"))
    for name, result in results.items():
        epoch = f"{result.seconds_an_epoch:.2f}" if result.seconds_an_epoch else "-"
        print(line(name, f"{result.exact_match:.4f}", f"{result.train_seconds:.2f}", epoch, *_last_cells(result)))
    ours, *rivals = results.items()
    for name, rival in rivals:
        ratios = [_ratio(ours[1], rival, field) for field in ("exact_match", "train_seconds")]
        others = [_ratio(ours[1], rival, f) for f in ("milliseconds_an_answer", "peak_megabytes", "model_megabytes")]
        print(line(f"Retune : {name}", *ratios, "", *others))


def _last_cells(result: Result) -> list[str]:
    return [f"{result.milliseconds_an_answer:.2f}", f"{result.peak_megabytes:.0f}", f"{result.model_megabytes:.1f}"]


def _ratio(ours: Result, rival: Result, field: str) -> str:
    return f"{getattr(ours, field) / getattr(rival, field):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=BANKING77 / "train.csv", help="CSV with columns text, category")
    parser.add_argument("--test", type=Path, default=BANKING77 / "test.csv", help="the same, never trained on")
    parser.add_argument("--split", type=float, help="hold out this fraction of --train and leave --test alone")
    parser.add_argument("--seed", type=int, default=42, help="of the training and of the split")
    options = parser.parse_args(arguments)
    train_rows = read_rows(options.train)
    if options.split:
        random.Random(options.seed).shuffle(train_rows)
        n_test = round(options.split * len(train_rows))
        test_rows, train_rows = train_rows[:n_test], train_rows[n_test:]
    else:
        test_rows = read_rows(options.test)
    print(f"{len(train_rows)} training rows, {len(test_rows)} test rows, seed {options.seed}\n")
    print_table(compare(train_rows, test_rows, options.seed))


if __name__ == "__main__":
    main()
