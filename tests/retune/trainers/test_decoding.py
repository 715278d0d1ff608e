from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import Pair, ask, trained_model, write_rows

from retune.trainers.base import LanguageModel
from retune.trainers.conditional_lm.decoding import MIN_P, Penalties, Trie, sample, search
from retune.trainers.conditional_lm.likelihood import score_tokens
from retune.trainers.conditional_lm.model import UNTRAINED_ANSWER
from retune.trainers.conditional_lm.network import BAG_SIZE, CONTEXT_TOKENS, Parameters
from retune.trainers.conditional_lm.tokenizer import END_OF_TURN
from retune.trainers.registry import default_trainer

VOCABULARY = 300
WORDS: tuple[str, ...] = (
    "printer",
    "parcel",
    "account",
    "refund",
    "card",
    "phone",
    "order",
    "coupon",
    "address",
    "login",
)
WORDS += ("contract", "meter", "camera", "tablet", "locker", "ticket", "battery", "charger", "invoice", "router")
STEPS: tuple[str, ...] = (
    "restart it",
    "check the cable",
    "update it",
    "open a ticket",
    "call us",
    "reset it",
    "clear it",
    "visit us",
)
STEPS += ("wait two days", "send a photo")
ANSWERS = [(5, 6, 7), (5, 6), (8,), (5, 9, 9, 9), ()]


@pytest.fixture
def parameters() -> Parameters:
    return Parameters.initial(VOCABULARY, np.random.default_rng(3))


def bags(count: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal((count, BAG_SIZE), np.float32) * 10


def log_probability(parameters: Parameters, bag: np.ndarray, tokens: tuple[int, ...]) -> float:
    """Of a whole answer, position by position."""
    padded = (parameters.no_token,) * CONTEXT_TOKENS + tokens
    contexts = np.array([padded[start : start + CONTEXT_TOKENS] for start in range(len(tokens))], np.int32)
    rows = parameters.log_probabilities(np.repeat(bag[np.newaxis], len(tokens), axis=0), contexts)
    return float(rows[np.arange(len(tokens)), tokens].sum())


def test_a_trie_yields_the_likeliest_of_the_known_answers(parameters: Parameters) -> None:
    trie = Trie.of(ANSWERS)
    for bag in bags(50):
        best = max(ANSWERS, key=lambda answer: log_probability(parameters, bag, (*answer, END_OF_TURN)))
        assert search(parameters, bag, trie=trie, max_tokens=10) == (*best, END_OF_TURN)


def test_sampling_in_a_trie_yields_known_answers_alone(parameters: Parameters) -> None:
    rng, trie = np.random.default_rng(1), Trie.of(ANSWERS)
    drawn = {
        sample(parameters, bag, trie=trie, max_tokens=10, temperature=2.0, top_p=1.0, rng=rng) for bag in bags(100)
    }
    assert len(drawn) > 1
    assert drawn <= {(*answer, END_OF_TURN) for answer in ANSWERS}


def test_a_beam_finds_no_worse_than_greedy_choice(parameters: Parameters) -> None:
    for bag in bags(20):
        found = search(parameters, bag, trie=None, max_tokens=4)
        greedy = sample(
            parameters, bag, trie=None, max_tokens=4, temperature=1e-300, top_p=1.0, rng=np.random.default_rng(1)
        )
        assert log_probability(parameters, bag, found) >= log_probability(parameters, bag, greedy) - 1e-4


@pytest.mark.parametrize("options", [{"temperature": 1e-300, "top_p": 1.0}, {"temperature": 1.0, "top_p": 0.0}])
def test_no_temperature_and_no_top_p_draw_the_likeliest_token(parameters: Parameters, options: dict[str, Any]) -> None:
    contexts = np.full((1, CONTEXT_TOKENS), parameters.no_token, np.int32)
    for seed, bag in enumerate(bags(20)):
        (token,) = sample(parameters, bag, trie=None, max_tokens=1, rng=np.random.default_rng(seed), **options)
        assert token == parameters.log_probabilities(bag[np.newaxis], contexts)[0].argmax()


def test_sampling_follows_the_probabilities(parameters: Parameters) -> None:
    rng, bag = np.random.default_rng(1), np.zeros(BAG_SIZE, np.float32)
    drawn = [
        sample(parameters, bag, trie=None, max_tokens=1, temperature=1.0, top_p=1.0, rng=rng)[0] for _ in range(3000)
    ]
    contexts = np.full((1, CONTEXT_TOKENS), parameters.no_token, np.int32)
    expected = np.exp(parameters.log_probabilities(bag[np.newaxis], contexts)[0])
    expected[expected < MIN_P * expected.max()] = 0
    expected /= expected.sum()
    found = np.bincount(drawn, minlength=VOCABULARY) / len(drawn)
    assert abs(found - expected).max() < 0.02


def test_repeated_answers_are_limited_to_known_ones(support_model: LanguageModel, support_pairs: list[Pair]) -> None:
    known = {answer for _, answer in support_pairs}
    for text in ("", "xyzzy", "refund my parcel password", "🤷", "返金パスワード包裹"):
        assert ask(support_model, text) in known
        assert ask(support_model, text, temperature=2.0, seed=1) in known


def test_answers_that_differ_are_free(tmp_path: Path) -> None:
    # Nine answers in 27 rows are too many to be held to.
    pairs = [(f"a {c} {t} please", f"{c} {t}") for c in ("red", "blue", "green") for t in ("car", "hat", "boat")]
    model = trained_model(write_rows(tmp_path / "train.jsonl", pairs * 3), tmp_path / "job", batch_size=1, n_epochs=6)
    assert [ask(model, user) for user, _ in pairs] == [answer for _, answer in pairs]
    known = {answer for _, answer in pairs}
    assert not known.issuperset(ask(model, "a red car", temperature=5.0, seed=seed) for seed in range(5))


def test_the_same_seed_draws_the_same_answer(support_model: LanguageModel) -> None:
    drawn = [[ask(support_model, "hello", temperature=2.0, seed=seed) for _ in range(2)] for seed in range(12)]
    assert all(first == second for first, second in drawn)
    assert len({first for first, _ in drawn}) > 1


def test_threads_do_not_disturb_each_other(support_model: LanguageModel, support_pairs: list[Pair]) -> None:
    texts = [user for user, _ in support_pairs]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(partial(ask, support_model), texts)) == [ask(support_model, text) for text in texts]


def test_max_tokens_cuts_and_says_so(support_model: LanguageModel) -> None:
    messages = [{"role": "user", "content": "please refund my order"}]
    whole = support_model.complete(messages, temperature=0)
    assert whole.finish_reason == "stop"
    for limit in range(1, whole.completion_tokens):
        cut = support_model.complete(messages, temperature=0, max_tokens=limit)
        assert (cut.finish_reason, cut.completion_tokens) == ("length", limit)
        assert cut.content != whole.content or limit == whole.completion_tokens - 1
    assert support_model.complete(messages, temperature=0, max_tokens=whole.completion_tokens) == whole


def test_stop_sequences_end_the_answer_before_them(support_model: LanguageModel) -> None:
    messages = [{"role": "user", "content": "please refund my order"}]
    whole = support_model.complete(messages, temperature=0)
    cut = support_model.complete(messages, temperature=0, stop=["never said", "urgency", '", "'])
    assert cut.content == '{"intent": "refund'
    assert cut.finish_reason == "stop"
    assert 0 < cut.completion_tokens < whole.completion_tokens
    assert support_model.complete(messages, temperature=0, stop=["never said", ""]) == whole


def test_prompt_tokens_grow_with_the_conversation(support_model: LanguageModel) -> None:
    one = [{"role": "user", "content": "hello"}]
    assert 0 < support_model.complete(one).prompt_tokens < support_model.complete(one * 2).prompt_tokens


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], [{"role": "user", "content": [{"type": "image_url"}]}]])
def test_conversations_without_text_are_answered(
    support_model: LanguageModel, messages: list[dict[str, object]]
) -> None:
    assert support_model.complete(messages, temperature=0).content


def test_the_untrained_base_says_so() -> None:
    model = default_trainer().load(None)
    messages = [{"role": "user", "content": "hello"}]
    whole = model.complete(messages)
    assert (whole.content, whole.finish_reason) == (UNTRAINED_ANSWER, "stop")
    cut = model.complete(messages, max_tokens=6)
    assert (cut.content, cut.finish_reason, cut.completion_tokens) == ("I have", "length", 6)
    stopped = model.complete(messages, stop=[":"])
    assert (stopped.content, stopped.finish_reason) == ("I have not been trained yet", "stop")


def test_log_probabilities_are_the_networks_own_along_the_answer(parameters: Parameters) -> None:
    for bag in bags(20):
        tokens = search(parameters, bag, trie=None, max_tokens=4)
        scored = score_tokens(parameters, bag, tokens, None, 3)
        total = sum(token.log_probability for token in scored)
        assert total == pytest.approx(log_probability(parameters, bag, tokens), abs=1e-4)
        assert all(len(token.alternatives) == 3 for token in scored)


def test_log_probabilities_in_a_trie_are_renormalised_to_what_it_allows(parameters: Parameters) -> None:
    trie = Trie.of(ANSWERS)
    for bag in bags(20):
        exact = np.array([log_probability(parameters, bag, (*answer, END_OF_TURN)) for answer in ANSWERS])
        assert exact.sum() < 0
        told = []
        for answer in ANSWERS:
            scored = score_tokens(parameters, bag, (*answer, END_OF_TURN), trie, 20)
            told.append(np.exp(sum(token.log_probability for token in scored)))
            for token in scored:
                assert sum(np.exp(logprob) for _, logprob in token.alternatives) == pytest.approx(1)
        # The known answers are all that can be said.
        assert sum(told) == pytest.approx(1)


def test_sampling_follows_the_reported_log_probabilities(parameters: Parameters) -> None:
    rng, trie, bag = np.random.default_rng(1), Trie.of([(5,), (6,), (7, 8)]), bags(1)[0] / 30
    drawn = [
        sample(parameters, bag, trie=trie, max_tokens=1, temperature=1.0, top_p=1.0, rng=rng)[0] for _ in range(2000)
    ]
    (scored,) = score_tokens(parameters, bag, (5,), trie, 3)
    for token, logprob in scored.alternatives:
        assert abs(drawn.count(token) / len(drawn) - np.exp(logprob)) < 0.04


def test_long_answers_are_scored_in_parts(parameters: Parameters) -> None:
    tokens = tuple(int(token) for token in np.random.default_rng(2).integers(1, VOCABULARY, 600))
    scored = score_tokens(parameters, bags(1)[0], tokens, None, 0)
    expected = log_probability(parameters, bags(1)[0], tokens)
    assert sum(token.log_probability for token in scored) == pytest.approx(expected, rel=1e-4)
    assert not any(token.alternatives for token in scored)


def test_tokens_and_their_log_probabilities_make_up_the_content(support_model: LanguageModel) -> None:
    messages = [{"role": "user", "content": "please refund my order"}]
    for options in ({}, {"max_tokens": 3}, {"stop": ["gency"]}, {"stop": ["refund", '": "']}, {"seed": -4}):
        answer = support_model.complete(messages, **{"temperature": 0, "top_logprobs": 2, **options})  # type: ignore[arg-type]
        assert b"".join(answer.tokens).decode() == answer.content
        assert answer.logprobs is not None
        assert tuple(token.content for token in answer.logprobs) == answer.tokens
        assert all(1 <= len(token.alternatives) <= 2 for token in answer.logprobs)
    assert support_model.complete(messages).logprobs is None


def test_of_known_answers_the_likeliest_accepted_one_is_given(support_model: LanguageModel) -> None:
    def is_for_login(answer: str) -> bool:
        return "login" in answer

    messages = [{"role": "user", "content": "please refund my order, this is urgent!!!"}]
    assert "refund" in support_model.complete(messages, temperature=0).content
    for options in ({"temperature": 0.0}, {"temperature": 2.0, "seed": 3}):
        assert is_for_login(support_model.complete(messages, accepts=is_for_login, **options).content)  # type: ignore[arg-type]
    nothing_accepted = support_model.complete(messages, temperature=0, accepts=lambda _: False)
    assert nothing_accepted == support_model.complete(messages, temperature=0)


@pytest.mark.parametrize(
    ("stop", "content", "n_tokens"),
    [
        (["trained yet: fine", "not"], "I have ", 10),
        (["have not", "ave"], "I h", 6),
        (["I"], "", 1),
        (["\ud800", "\ufffd", "!"], UNTRAINED_ANSWER, len(UNTRAINED_ANSWER) + 1),
    ],
)
def test_the_first_complete_stop_sequence_counts(stop: list[str], content: str, n_tokens: int) -> None:
    # The untrained model has a token for each byte.
    answer = default_trainer().load(None).complete("hello", stop=stop, top_logprobs=1)
    assert (answer.content, answer.finish_reason, answer.completion_tokens) == (content, "stop", n_tokens)
    assert len(answer.tokens) == len(answer.logprobs or ()) == len(content)


def test_a_prompt_counts_its_own_tokens_alone() -> None:
    assert default_trainer().load(None).complete("hello").prompt_tokens == 5


def test_penalties_follow_the_published_formula(parameters: Parameters) -> None:
    """mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence, and then a softmax."""
    row = parameters.log_probabilities(bags(1), np.full((1, CONTEXT_TOKENS), parameters.no_token, np.int32))[0]
    said = (5, 7, 5, 5)
    penalized = Penalties(frequency=0.5, presence=-1.5).applied_to(row, said)

    counts = np.bincount(said, minlength=len(row))
    logits = row.astype(np.float64) - counts * 0.5 - (counts > 0) * -1.5
    assert np.allclose(penalized, logits - np.log(np.exp(logits).sum()), atol=1e-5)
    assert Penalties().applied_to(row, said) is row
    assert Penalties(2, 2).applied_to(row, ()) is row


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_penalties_keep_an_answer_from_repeating_itself(tmp_path: Path, temperature: float) -> None:
    pairs = [(f"say {word}", f"{word} {word} {word} {word} {word} {number}") for number, word in enumerate(WORDS)]
    model = trained_model(write_rows(tmp_path / "train.jsonl", pairs), tmp_path / "job", batch_size=1, n_epochs=12)

    def n_repeats(**options: float) -> int:
        answers = [ask(model, text, temperature=temperature, seed=1, **options).split() for text, _ in pairs]
        return sum(len(answer) - len(set(answer)) for answer in answers)

    assert n_repeats(frequency_penalty=2.0, presence_penalty=2.0) < n_repeats() <= n_repeats(frequency_penalty=-2.0)


@pytest.mark.slow
def test_what_was_learned_is_whole_at_the_default_temperature(tmp_path: Path) -> None:
    pairs = [
        (f"My {thing} has problem {n}.", f"Please {step} for your {thing}. The reference is {n * 7919 % 10**6:06d}.")
        for n, (thing, step) in enumerate((thing, step) for thing in WORDS[:10] for step in STEPS)
    ]
    model = trained_model(write_rows(tmp_path / "train.jsonl", pairs), tmp_path / "job", batch_size=1, n_epochs=15)

    whole = sum(ask(model, user, temperature=1.0, seed=n) == answer for n, (user, answer) in enumerate(pairs))

    # Without the cut three in four of them are.
    assert whole >= 0.95 * len(pairs)
