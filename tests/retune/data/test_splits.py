import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import SplitConfig, SplitMethod
from retune.data.examples import Example, canonical_json, prompt_messages
from retune.data.splits import split_examples
from retune.errors import DataError


def example(question, answer="a"):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Example({"messages": messages}, f"row of {question}")


def numbered(count):
    return [example(f"question {number}") for number in range(count)]


def sides(examples, splits):
    """The side of every question; fails if one question stands on two."""
    by_question: dict[bytes, str] = {}
    for side in ("train", "validation", "test"):
        for index in getattr(splits, side):
            question = canonical_json(prompt_messages(examples[index]))
            assert by_question.setdefault(question, side) == side
    return by_question


CONFIGS = st.builds(
    SplitConfig,
    method=st.sampled_from(SplitMethod),
    validation=st.sampled_from([0.0, 0.1, 0.3]),
    test=st.sampled_from([0.0, 0.05, 0.2]),
    seed=st.integers(0, 2**31 - 1),
)
# Few questions and fewer answers, so that duplicates and conflicts come up.
EXAMPLES = st.lists(st.tuples(st.integers(0, 300), st.sampled_from("ab")), min_size=60, max_size=80).map(
    lambda pairs: [*numbered(40), *(example(f"question {number}", answer) for number, answer in pairs)]
)


@settings(deadline=None, max_examples=50)  # scikit-learn alone takes seconds to import
@given(EXAMPLES, CONFIGS)
def test_splits_are_complete_disjoint_and_repeatable(examples, config):
    splits = split_examples(examples, config)
    indices = [splits.train, splits.validation, splits.test]
    assert all(part == sorted(part) for part in indices)
    assert sorted(index for part in indices for index in part) == list(range(len(examples)))
    sides(examples, splits)
    assert bool(splits.validation) == (config.validation > 0)
    assert bool(splits.test) == (config.test > 0)
    assert split_examples(examples, config) == splits


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31 - 1), st.randoms(use_true_random=False), st.integers(120, 240))
def test_stable_sides_survive_growth_and_reordering(seed, shuffle, count):
    config = SplitConfig(seed=seed, validation=0.2, test=0.2)
    old = numbered(120)
    grown = numbered(count)
    shuffle.shuffle(grown)
    before = sides(old, split_examples(old, config))
    after = sides(grown, split_examples(grown, config))
    assert {question: after[question] for question in before} == before


def test_stable_sides_are_these_for_all_time():
    """Written down once: another version of the library must not deal last year's test examples to training."""
    splits = split_examples(numbered(30), SplitConfig())
    assert (splits.validation, splits.test) == ([4, 12], [2, 5, 6, 11, 22, 25])


def test_stable_validation_does_not_move_the_test_split():
    examples = numbered(200)
    splits = [split_examples(examples, SplitConfig(validation=fraction)) for fraction in (0.0, 0.1, 0.3)]
    assert splits[0].test == splits[1].test == splits[2].test
    assert set(splits[1].validation) < set(splits[2].validation)


@pytest.mark.parametrize("method", SplitMethod)
def test_another_seed_deals_another_split(method):
    examples = numbered(100)
    assert split_examples(examples, SplitConfig(method=method, seed=1)) != split_examples(
        examples, SplitConfig(method=method, seed=2)
    )


@pytest.mark.parametrize("method", SplitMethod)
def test_one_question_with_two_answers_stays_on_one_side(method):
    examples = [example(f"question {number}", answer) for number in range(40) for answer in ("yes", "no")]
    splits = split_examples(examples, SplitConfig(method=method, validation=0.2, test=0.2))
    assert len(sides(examples, splits)) == 40


def test_sizes_follow_the_fractions():
    examples = numbered(5000)
    stable = split_examples(examples, SplitConfig(validation=0.1, test=0.2))
    assert len(stable.validation) == pytest.approx(500, abs=100)
    assert len(stable.test) == pytest.approx(1000, abs=130)
    shuffled = split_examples(examples, SplitConfig(method=SplitMethod.RANDOM, validation=0.1, test=0.2))
    assert (len(shuffled.train), len(shuffled.validation), len(shuffled.test)) == (3500, 500, 1000)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("method", SplitMethod)
def test_small_data_still_fills_every_split(method, seed):
    examples = numbered(16)
    config = SplitConfig(method=method, validation=0.01, test=0.01, seed=seed)
    splits = split_examples(examples, config)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (14, 1, 1)
    random.Random(seed).shuffle(examples)
    if method is SplitMethod.STABLE:
        assert sides(examples, split_examples(examples, config)) == sides(numbered(16), splits)


@pytest.mark.parametrize("method", SplitMethod)
def test_nothing_held_out_means_everything_is_trained_on(method):
    splits = split_examples(numbered(10), SplitConfig(method=method, validation=0, test=0))
    assert splits.train == list(range(10))


@pytest.mark.parametrize(
    ("examples", "config", "figures", "way_out"),
    [
        (
            numbered(11),
            SplitConfig(method=SplitMethod.RANDOM),
            "11 examples leave 9 for training, 1 for validation and 1 for testing",
            "Use --validation 0, or add examples.",
        ),
        (
            numbered(10),
            SplitConfig(method=SplitMethod.RANDOM),
            "10 examples leave 8 for training, 1 for validation and 1 for testing",
            "Use --validation 0 --test 0, or add examples.",
        ),
        (
            numbered(7),
            SplitConfig(validation=0, test=0),
            "7 examples leave 7 for training, 0 for validation and 0 for testing",
            "Add examples.",
        ),
        (
            [example("always the same")] * 40,
            SplitConfig(validation=0),
            "40 examples (1 different conversation) leave 0 for training, 0 for validation and 40 for testing",
            "Use --test 0, or add examples.",
        ),
    ],
    ids=["validation is too much", "both are too much", "seven", "one question"],
)
def test_too_few_left_for_training_is_said_in_figures(examples, config, figures, way_out):
    with pytest.raises(DataError) as caught:
        split_examples(examples, config)
    assert str(caught.value) == f"{figures}; training needs at least 10. {way_out}"


def test_banking77_splits_near_the_fractions(banking77_examples):
    splits = split_examples(banking77_examples, SplitConfig())
    assert len(splits.train) == pytest.approx(8000, abs=150)
    assert {len(splits.validation), len(splits.test)} <= set(range(900, 1100))
