"""What names say of the split that examples belong to: names of files and folders, keys of a document, cells."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

_SPLIT_COLUMNS = ("split", "dataset_split", "data_split", "splits", "partition", "subset", "set")

_SPLITS = {
    "train": ("train", "training", "trn", "訓練", "訓練用", "学習", "学習用", "训练", "训练集", "訓練集"),
    "validation": (
        *("validation", "validations", "valid", "val", "dev", "development", "eval", "evals", "evaluation"),
        *("evaluations", "検証", "検証用", "验证"),
    ),
    "test": (
        *("test", "tests", "testing", "tst", "holdout", "holdouts", "heldout", "テスト", "テスト用", "評価", "测试"),
        *("测试集", "測試"),
    ),
}
_BY_WORD = {word: split for split, words in _SPLITS.items() for word in words}

# They say that it is data, and nothing of its split.
_NOISE = {"data", "dataset", "set", "split", "part", "shard", "file", "files", "examples", "samples", "prepared"}

# What a column is for that says the split, and what may stand beside that in its name.
_COLUMN_WORDS = {"split", "splits", "partition", "subset", "set"}
_BESIDE = {"or", "and", "name", "type", "label", "data", "dataset", "the", *_COLUMN_WORDS}
_FLAG_WORDS = {"is", "in", "for", "use", "used", "belongs", "to"}
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_YES, _NO = ("true", "yes", "y", "t", "1", "1.0"), ("false", "no", "n", "f", "0", "0.0")

_SHARD = re.compile(r"[-_]\d{5}-of-\d{5}(-[0-9a-f]{6,})?$")
_WORD = re.compile(r"[^\W\d_]+")
_PACKED = (".gz", ".gzip", ".bz2", ".zst", ".zstd")


def split_named(text: str) -> str | None:
    """The split that a cell or a key names: train, validation or test; None where it names none."""
    word = re.sub(r"[\s_-]+", "", text.strip().casefold())
    return _BY_WORD.get(word) or _BY_WORD.get(word.removesuffix("set"))


def is_split_column(name: str) -> bool:
    """Whether a column says the split by its name, if its cells name splits: split, data_split, train_test."""
    words = _column_words(name)
    splits = {split for word in words if (split := split_named(word)) is not None}
    others = {word for word in words if split_named(word) is None}
    is_named = bool(others & _COLUMN_WORDS) and not splits
    return name.strip().casefold() in _SPLIT_COLUMNS or ((is_named or len(splits) > 1) and others <= _BESIDE)


class Flag(NamedTuple):
    """What a column of yes and no asks.

    Attributes:
        split: The split that its rows belong to where it says yes.
        is_certain: Nothing else can be meant; `valid` may be said of sound rows.
    """

    split: str
    is_certain: bool


def flag_named(name: str) -> Flag | None:
    """What a column asks of every row by its name: is_test, in_train, holdout; None where it asks nothing of splits."""
    words = _column_words(name)
    own = [word for word in words if word not in _FLAG_WORDS and word not in _NOISE]
    split = split_named("".join(own))
    if split is None:
        return None
    asks = len(own) < len(words) or own[0] in ("hold", "held", "holdout", "heldout")
    return Flag(split, is_certain=asks and own != ["valid"])


def flag_said(cell: str) -> bool | None:
    """Whether a cell says yes; None where it says neither yes nor no."""
    word = cell.strip().casefold()
    return True if word in _YES else False if word in _NO else None


def split_of_key(key: str) -> str | None:
    """The split that a key of a document or a data set's folder is for: "test" of test_data and test_hard."""
    return _read_words(_words_of(key)).split


def splits_of_files(paths: Sequence[str]) -> list[str | None]:
    """The splits that the names of a source's files say, for each train, validation or test; None for none.

    A file says it by its name (`train.jsonl`, `test-00000-of-00002.parquet`) or by its folder's (`test/part-1.csv`).
    Where another word stands in the name too (`tickets_test.csv`), it counts if a file beside it makes the meaning
    clear: `tickets_train.csv`, `tickets.csv`, or one that is named for its split alone. In the midst of a name it
    counts if a file beside it differs in that word alone: `tickets_test_v2.csv` and `tickets_train_v2.csv`.

    Names count only together: where no file is named for validation or test, or all are for the same one, there is
    nothing that they tell apart.

    Args:
        paths: Their paths below the folder or pattern that was asked for, with slashes.
    """
    names = [_read_name(path) for path in paths]
    sides = {(name.inner or name.split, name.rest) for name in names}
    pairs = Counter(rest for split, rest in sides if split)
    names = [_Name(name.inner, False, name.rest) if name.inner and pairs[name.rest] > 1 else name for name in names]
    is_clear = any(name.is_exact for name in names) or len({name.split for name in names if name.split}) > 1
    others = {name.rest for name in names if name.split is None}
    splits = [name.split if name.is_exact or is_clear or name.rest in others else None for name in names]
    return splits if set(splits) - {"train", None} and len(set(splits)) > 1 else [None] * len(paths)


def split_named_alone(names: Sequence[str]) -> str | None:
    """Validation or test, where every name of a source says just that: there is nothing to train on beside it.

    Args:
        names: Of its files, or keys of a document.
    """
    splits = {_read_words(_words_of(_stem(name))).split for name in names}
    split = splits.pop() if len(splits) == 1 else None
    return None if split == "train" else split


def splits_in_name(path: str) -> list[str]:
    """Every split that a word of a file's name is for, each once, whatever the other words say."""
    named = map(split_named, _words_of(_stem(PurePosixPath(path).name)))
    return list(dict.fromkeys(split for split in named if split is not None))


class _Name(NamedTuple):
    """What one name says.

    Attributes:
        split: The split; None for none.
        is_exact: Nothing else is said.
        rest: The other words of the name.
        inner: The split that a word in the midst of the name says, which may well be of a title.
    """

    split: str | None
    is_exact: bool
    rest: tuple[str, ...]
    inner: str | None = None


def _read_name(path: str) -> _Name:
    *folders, file = PurePosixPath(path).parts
    by_file = _read_words(_words_of(_stem(file)))
    if by_file.is_exact:
        return by_file
    by_folders = (_read_words(_words_of(folder)) for folder in reversed(folders))
    return next((name for name in by_folders if name.is_exact), by_file)


def _read_words(words: list[str]) -> _Name:
    named = [word for word in words if split_named(word)]
    if len(named) != 1:
        return _Name(None, is_exact=False, rest=tuple(words))
    rest = tuple(word for word in words if word != named[0])
    if named[0] not in (words[0], words[-1]):
        return _Name(None, is_exact=False, rest=rest, inner=split_named(named[0]))
    return _Name(split_named(named[0]), is_exact=not rest, rest=rest)


def _stem(file: str) -> str:
    name = PurePosixPath(file)
    name = name.with_suffix("") if name.suffix.lower() in _PACKED else name
    return _SHARD.sub("", name.stem)


def _words_of(name: str) -> list[str]:
    words = list(_joined(_WORD.findall(name.casefold())))
    return [word for word in words if word not in _NOISE] or words


def _joined(words: Sequence[str]) -> Iterator[str]:
    """The words, neighbours as one where only both together name a split: held-out, hold_out."""
    rest = iter([*words, ""])
    word = next(rest)
    for after in rest:
        if after and not split_named(word) and word + after in _BY_WORD:
            word += after
        else:
            yield word
            word = after


def _column_words(name: str) -> list[str]:
    return _WORD.findall(_CAPITAL.sub("_", name).casefold())
