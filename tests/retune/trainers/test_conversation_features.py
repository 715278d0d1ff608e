import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.trainers.conditional_lm.features import N_BUCKETS, FeatureWeights, count_features
from retune.trainers.conditional_lm.messages import Turn


def user(text: str) -> tuple[Turn, ...]:
    return (Turn("user", text),)


def shared(first: str, second: str) -> int:
    """How many features two user messages have in common."""
    return len(np.intersect1d(count_features(user(first)).buckets(), count_features(user(second)).buckets()))


@settings(deadline=None)
@given(st.lists(st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool"]), st.text()), max_size=5))
def test_any_conversation_has_finite_weights_of_bounded_length(conversation: list[Turn]) -> None:
    counts = count_features(conversation)
    buckets, weights = FeatureWeights.fit([counts, count_features(user("hello"))]).weigh(counts)
    assert len(np.unique(buckets)) == len(buckets) == len(weights)
    assert np.isfinite(weights).all()
    assert np.linalg.norm(weights) <= 1.51  # 1 for the last user turn, 0.5 for the earlier ones


def test_buckets_are_the_same_in_every_process() -> None:
    # Checkpoints hold embeddings by bucket: another hash would make all of them meaningless.
    assert count_features(user("hi!")).buckets().tolist() == [611, 14730, 16642, 28953, 37691, 43105, 58263]


def test_similar_words_share_features_and_different_ones_do_not() -> None:
    assert shared("refunding", "refunded") >= 6
    assert shared("refund", "password") == 0


def test_scripts_without_spaces_share_characters_and_pairs() -> None:
    assert shared("返金してください", "返金できますか") >= 3
    assert shared("我要退款", "怎么退款") >= 3


def test_width_and_case_make_no_difference() -> None:
    assert shared("Refund 42!", "ＲＥＦＵＮＤ ４２！") == len(count_features(user("refund 42!")).buckets())


def test_earlier_turns_are_distinguished_by_role() -> None:
    asked = count_features([Turn("assistant", "refund"), Turn("user", "yes")])
    said = count_features([Turn("user", "refund"), Turn("user", "yes")])
    assert asked.last_user_turn[0].tolist() == said.last_user_turn[0].tolist()
    assert asked.earlier_turns[0].tolist() != said.earlier_turns[0].tolist()


def test_shared_system_prompt_has_no_weight() -> None:
    documents = [count_features([Turn("system", "You sort mail."), *user(text)]) for text in ("one", "two", "three")]
    buckets, _ = FeatureWeights.fit(documents).weigh(documents[0])
    assert set(buckets) == set(documents[0].last_user_turn[0])


def test_unknown_features_are_left_out() -> None:
    weights = FeatureWeights.fit([count_features(user("refund"))])
    assert len(weights.weigh(count_features(user("xylophone")))[0]) == 0


def test_feature_counts_continue_from_a_base_model() -> None:
    base = FeatureWeights.fit([count_features(user("refund"))])
    both = FeatureWeights.fit([count_features(user("login"))], base)
    assert both.n_documents == 2
    assert both.document_counts.shape == (N_BUCKETS,)
    assert both.document_counts.sum() == len(count_features(user("refund")).buckets()) + len(
        count_features(user("login")).buckets()
    )
