import csv
import random
import string
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.checks.personal_data import TITLES, find_personal_data
from retune.data.text.words import cut_words
from retune.redaction.patterns import KEY_FORMS, find_secrets, is_card_number

TICKETS = Path(__file__).parents[4] / "examples/support_tickets.csv"
LETTERS = string.ascii_letters + string.digits


def find(*texts: str) -> list[tuple[int, str, str]]:
    array = pa.array(texts, pa.string())
    return [(index, *finding) for index, finding in find_personal_data(array, cut_words(array))]


def kinds(*texts: str) -> list[tuple[int, str]]:
    return [(index, kind) for index, kind, _ in find(*texts)]


def some(seed: int, count: int, alphabet: str = LETTERS) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=count))


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in string.digits if is_card_number(digits + last))


PREFIXED_KEYS = {
    "OpenAI": lambda seed: f"sk-proj-{some(seed, 40)}7T3BlbkFJ{some(seed, 40)}",
    "Anthropic": lambda seed: f"sk-ant-api03-{some(seed, 93)}AA",
    "AWS": lambda seed: "AKIA" + some(seed, 16, string.ascii_uppercase + "234567"),
    "GitHub": lambda seed: f"ghp_{some(seed, 36)}",
    "GitHub, fine-grained": lambda seed: f"github_pat_{some(seed, 82)}",
    "GitLab": lambda seed: f"glpat-{some(seed, 20)}",
    "Slack": lambda seed: f"xoxb-{some(seed, 11, string.digits)}-{some(seed, 24)}",
    "Google": lambda seed: f"AIza{some(seed, 35)}",
    "Stripe": lambda seed: f"sk_live_{some(seed, 24)}",
    "Hugging Face": lambda seed: f"hf_{some(seed, 34, string.ascii_letters)}",
    "npm": lambda seed: f"npm_{some(seed, 36)}",
    "PyPI": lambda seed: f"pypi-AgEIcHlwaS5vcmc{some(seed, 60)}",
    "JSON Web Token": lambda seed: f"eyJ{some(seed, 20)}.eyJ{some(seed + 1, 40)}.{some(seed + 2, 43)}",
    "Azure": lambda seed: f"{some(seed, 3)}8Q~{some(seed, 34)}",
    "Azure Storage": lambda seed: f"AccountKey={some(seed, 86)}==",
    "SendGrid": lambda seed: f"SG.{some(seed, 22)}.{some(seed, 43)}",
}
NAMED_SECRETS = {
    "password": lambda seed: f"password=a1{some(seed, 8)}",
    "spaced": lambda seed: f'PASSWORD = "a1{some(seed, 8)}"',
    "API key": lambda seed: f"API key: a1{some(seed, 8)}",
    "JSON": lambda seed: f'"client_secret": "a1{some(seed, 30)}"'.replace("client_", ""),
    "bearer": lambda seed: f"Bearer 1{some(seed, 40)}",
    "header": lambda seed: f"Authorization: token 1{some(seed, 40)}",
    "address": lambda seed: f"postgresql://retune:{some(seed, 12)}@db.internal:5432/tickets",
}
CARDS = {
    "Visa": lambda seed: with_check_digit("4" + some(seed, 14, string.digits)),
    "Mastercard": lambda seed: with_check_digit("53" + some(seed, 13, string.digits)),
    "Mastercard, 2-series": lambda seed: with_check_digit("2345" + some(seed, 11, string.digits)),
    "American Express": lambda seed: with_check_digit("37" + some(seed, 12, string.digits)),
}


def in_groups(digits: str, mark: str) -> str:
    sizes = (4, 6, 5) if len(digits) == 15 else (4, 4, 4, 4)
    groups = [digits[sum(sizes[:index]) :][:size] for index, size in enumerate(sizes)]
    return mark.join(groups)


SECRETS = (
    st.builds(lambda make, seed: ("api_key", make(seed)), st.sampled_from([*PREFIXED_KEYS.values()]), st.integers(0))
    | st.builds(lambda make, seed: ("api_key", make(seed)), st.sampled_from([*NAMED_SECRETS.values()]), st.integers(0))
    | st.builds(
        lambda make, seed, mark: ("card_number", in_groups(make(seed), mark)),
        st.sampled_from([*CARDS.values()]),
        st.integers(0),
        st.sampled_from(["", " ", "-"]),
    )
    | st.builds(
        lambda name, domain, seed: ("email_address", f"{name}{some(seed, 6)}@{domain}"),
        st.sampled_from(["anna.", "b", "o'brien+"]),
        st.sampled_from(["mail.de", "dept.university.ac.uk", "qq.com"]),
        st.integers(0),
    )
)
# Words of every script, numbers as they stand in letters, and no mark that could make a secret of them.
WORDS = st.lists(
    st.text(st.characters(categories=["Lu", "Ll", "Lo"]), max_size=12)
    | st.integers(0, 9999).map(str)
    | st.sampled_from(
        ["2024-05-17", "10:45", "+49 30 1234567", "19.99 €", "#48213", "https://retune.dev/a?b=c", "\n", ""]
    ),
    max_size=12,
).map(" ".join)


@settings(deadline=None)
@given(WORDS, SECRETS, WORDS, st.sampled_from([" ", "\n", " (", "：", "「"]))
def test_a_secret_is_found_in_any_text(before: str, secret: tuple[str, str], after: str, mark: str) -> None:
    kind, value = secret
    assert (1, kind) in kinds("nothing here", f"{before}{mark}{value} {after}", "nor here")


# Pieces of secrets, in any order, with every kind of space between them.
PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "password",
                "Passphrase",
                "api",
                "API_KEY",
                "secret",
                "token",
                "Bearer",
                "AUTHORIZATION",
                "basic",
                "paſſword",
            ),
            *("=", ":", "=>", ":=", '"', "'", " ", "  ", "\n", "\t", "\u00a0", "\u2003", "\x1f", "\u3000", "à"),
            *("4111", "1111", "1111 1111", "4111111111111111", "3782 822463 10005", "a1b2c3", "Zx81kQ0vLm3pT7rW9y"),
            *(
                "-----BEGIN",
                "-----BEGIN PRIVATE KEY-----",
                "-----BEGIN PGP PRIVATE KEY BLOCK-----",
                "-----END",
                "--",
                "x",
            ),
            *("https://", "kim:", "pa55wort", "@", "db.org", "kim.lee@mail.de", ".", "xoxb-1234567890", "ghp_"),
        ]
    ),
    max_size=12,
).map("".join)
KEYS = st.sampled_from(KEY_FORMS).flatmap(lambda form: st.from_regex(form, fullmatch=True))


@settings(deadline=None, max_examples=400)
@given(st.lists(PIECES | KEYS | st.text(max_size=3), max_size=4))
def test_whatever_is_a_secret_is_found(parts: list[str]) -> None:
    text = " ".join(parts).encode(errors="replace").decode()
    assert [kind for _, kind in kinds(text)] == [
        kind for kind in TITLES if kind in {kind for kind, _ in find_secrets(text)}
    ]


@settings(deadline=None)
@given(WORDS)
def test_nothing_is_found_where_nothing_is(text: str) -> None:
    assert find(text, "", text) == []


@settings(deadline=None)
@given(st.lists(st.text(), max_size=5))
def test_any_text_can_be_looked_at(texts: list[str]) -> None:
    texts = [text.encode(errors="replace").decode() for text in texts]
    assert [index for index, _ in kinds(*texts)] == sorted(index for index, _ in kinds(*texts))


@pytest.mark.parametrize("name", PREFIXED_KEYS)
def test_keys_are_shown(name: str) -> None:
    key = PREFIXED_KEYS[name](7)
    ((index, kind, message),) = find(f"my key is {key}, does it work?")
    assert (index, kind) == (0, "api_key")
    assert message == f"holds an API key or password: {key[:4]}… ({len(key)} characters)."


@pytest.mark.parametrize("name", NAMED_SECRETS)
def test_of_named_secrets_only_the_value_is_shown_and_little_of_it(name: str) -> None:
    secret = NAMED_SECRETS[name](7)
    ((_, kind, message),) = find(f"it says {secret} there")
    assert kind == "api_key"
    shown = message.removeprefix("holds an API key or password: ").partition("…")[0]
    assert 1 <= len(shown) <= 4
    assert some(7, 8) not in message


def test_a_short_password_is_hardly_shown() -> None:
    assert find("password=hunter2") == [(0, "api_key", "holds an API key or password: h… (7 characters).")]


@pytest.mark.parametrize("name", ["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_private_keys_are_found_and_not_shown(name: str) -> None:
    body = "\n".join(some(line, 64) for line in range(20))
    text = f"Here it is:\n-----BEGIN {name}-----\n{body}\n-----END {name}-----\nThanks!"
    assert find(text) == [(0, "private_key", "holds a private key.")]
    assert kinds(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----") == []


def test_several_of_a_kind_are_one_finding_with_their_number() -> None:
    text = "Write to anna@mail.de or bert@mail.de, not to anna@mail.de; pay with 4111 1111 1111 1111."
    assert find("nothing", text) == [
        (1, "card_number", "holds a card number: 4111… (19 characters)."),
        (1, "email_address", "holds 2 e-mail addresses, the first ann… (12 characters)."),
    ]


def test_text_without_spaces_is_looked_at() -> None:
    text = "您好我的邮箱是zhangwei@qq.com我的卡号是4111111111111111请尽快处理谢谢"
    assert kinds(text) == [(0, "card_number"), (0, "email_address")]
    assert kinds("我的卡号是3782 822463 10005请处理") == [(0, "card_number")]


def test_digits_beside_a_card_number_hide_nothing() -> None:
    found = [(0, "card_number", "holds a card number: 4111… (19 characters).")]
    assert find("1000 4111 1111 1111 1111 12/27 123") == found
    assert find("to 12 3456 4111 1111 1111 1111") == found


@pytest.mark.parametrize(
    "text",
    [
        "Call me at +4111 1111 1111 1111 or 0041 44 668 18 00.",
        "Order 4111 1111 1111 1112 has not arrived.",
        "Parcel 00340434161094042557 is late.",
        "Order #4111111111111111 has not arrived.",
        "4111-1111-1111-1111-1111-1111",
        "It was 4111111111111111.25 then.",
        "In 2019 2020 2021 and 2022 it was 1000 2000 3000 4000.",
        "0000 0000 0000 0000",
    ],
)
def test_other_numbers_are_not_card_numbers(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize(
    ("digits", "is_one"),
    [
        ("4111111111111111", True),
        ("5555555555554444", True),
        ("2223003122003222", True),
        ("378282246310005", True),
        ("6011111111111117", True),
        ("30569309025904", True),
        ("3530111333300000", True),
        ("6759649826438453", True),
        ("4111111111111112", False),
        ("378282246310006", False),
        ("9111111111111111", False),
        ("0000000000000000", False),
    ],
)
def test_card_numbers_have_an_issuer_and_a_check_digit(digits: str, is_one: bool) -> None:
    assert is_card_number(digits) == is_one


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password: please help",
        "password=os.environ['PASSWORD'] and password=None",
        "Set api_key=YOUR_API_KEY or api_key=xxxxxxxxxxxxx1",
        "AKIAIOSFODNN7EXAMPLE",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "the risk-assessment-and-management-of-enterprise-systems",
        "https://shop.test/sk-assessment-and-management-of-enterprise-systems",
        "postgresql://retune:${PASSWORD}@db/tickets",
        "postgresql://retune:password@db/tickets",
        "a bearer of-good-news-for-everybody-there",
        "logo@2x.png is broken, clone git@github.com:retune/retune.git",
        "write to someone@example.com or nobody@mail.invalid",
        "meet @anna at 10:00 @ the office",
    ],
)
def test_texts_that_resemble_secrets_have_no_problem(text: str) -> None:
    assert find(text) == []


def test_a_password_in_an_address_is_not_taken_for_an_email_address() -> None:
    assert kinds("redis://:s3cretpass@cache.internal.org:6379") == [(0, "api_key")]


def test_real_support_tickets_hold_nothing() -> None:
    with TICKETS.open(encoding="utf-8", newline="") as stream:
        texts = [row["message"] for row in csv.DictReader(stream)]
    assert len(texts) > 1000
    assert find(*texts) == []


def test_banking77_holds_nothing(banking77: Path) -> None:
    with banking77.open(encoding="utf-8", newline="") as stream:
        texts = [row["text"] for row in csv.DictReader(stream)]
    assert find(*texts) == []
