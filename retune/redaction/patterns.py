r"""What secrets and personal data look like.

The forms of keys are those of gitleaks' rules (https://github.com/gitleaks/gitleaks, config/gitleaks.toml, MIT): only
of keys that say by a prefix whose they are. Passwords in addresses are found as detect-secrets' BasicAuthDetector
does (https://github.com/Yelp/detect-secrets). Issuers and lengths of card numbers: ISO/IEC 7812 ranges as listed at
https://en.wikipedia.org/wiki/Payment_card_number, their check digit: ISO/IEC 7812-1, annex B.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

KEY_FORMS = (
    r"sk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-|or-v1-|lf-)?[A-Za-z0-9_-]{32,}",  # OpenAI, Anthropic, OpenRouter
    r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{36}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{82}",
    r"gl(?:pat|dt|ptt|rt|soat|cbt|ft|imt|agent|oas)-[A-Za-z0-9_.-]{20,}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"(?:sk|rk)_(?:test|live|prod)_[A-Za-z0-9]{10,99}",  # Stripe
    r"whsec_[A-Za-z0-9+/]{32,}={0,2}",
    r"(?:hf|api_org)_[A-Za-z]{34}",  # Hugging Face
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    r"ey[A-Za-z0-9]{17,}\.ey[A-Za-z0-9/\\_-]{17,}\.[A-Za-z0-9/\\_-]{10,}={0,2}",  # JSON Web Token
    r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",  # Azure
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",  # SendGrid
    r"do[opr]_v1_[a-f0-9]{64}",  # DigitalOcean
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",  # Shopify
    r"dapi[a-f0-9]{32}",  # Databricks
    r"(?:gsk|xai)[_-][A-Za-z0-9]{48,}",  # Groq, xAI
    r"AccountKey=[A-Za-z0-9+/]{86}==",  # Azure Storage
)
"""Regular expressions of keys that say whose they are."""

_KEY = "|".join(KEY_FORMS)
_NAMED = r"(?:password|passwd|passphrase|pwd|secret|(?:api|access|secret)[ _-]?key|(?:access|auth|api)[ _-]?token)"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,20}://"
_EMAIL = r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"

# What Python's \s is, for RE2.
_SPACE = r"[\s\pZ\x0b\x1c-\x1f\x{85}]"
_SPACES = f"{_SPACE}{{0,3}}"

SUSPICIOUS_WORD = "|".join(
    (
        # How the keys above begin.
        r"sk-[A-Za-z0-9_-]{4}|A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|gl[a-z]{2,5}-|xox[abeoprs]-|xapp-",
        r"AIza|ya29\.|[rs]k_[lpt]|whsec_|hf_|api_org_|npm_|pypi-|ey[A-Za-z0-9]{4}|[0-9]Q~|SG\.|do[opr]_v1_|shp[acps][ast]_",
        r"dapi[a-f0-9]|(?:gsk|xai)[_-]|AccountKey=",
        r"-----BEGIN|(?i:uthorization[\"']?:)",
        r"[0-9](?:-?[0-9]){12}",
        rf"(?i:password|passwd|passphrase|pwd|secret|key|token)[\"']?{_SPACES}(?:[=:]|$)",
        rf"(?i:bearer){_SPACE}",
        # An e-mail address, or a password in an address.
        r"[A-Za-z0-9._%+-]@[A-Za-z0-9-]+\.|://[^ /@]*:[^ /@]+@",
    )
)
"""For RE2: what at least one word of a secret looks like; no secret is missed, and more is found than there is."""

NAME_BEFORE = re.compile(r"(?:password|passwd|passphrase|pwd|secret|key|token|bearer)[\"']?$", re.IGNORECASE)
"""A word that names the secret after it: "password = …", "Bearer …"."""

# Up to its end, or that of the text: there may be hyphens in the headers of a key.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)", re.DOTALL
)
# The shortest key has so many characters.
_LONG_RUN = re.compile(r"[A-Za-z0-9_=~.+/\\-]{15}")
_KEY_PATTERN = re.compile(rf"(?<![A-Za-z0-9_])(?:{_KEY})(?![A-Za-z0-9])")
_NAMED_PATTERN = re.compile(
    rf"(?<![A-Za-z0-9]){_NAMED}[\"']?\s{{0,3}}(?:=>|:=|[=:])\s{{0,3}}[\"']?(?P<value>[^\s\"'`<>(){{}}\[\],;&|$]{{6,200}})",
    re.IGNORECASE,
)
_BEARER_PATTERN = re.compile(
    r"(?:authorization[\"']?:\s{0,3}[\"']?(?:basic|token)|(?<![A-Za-z])bearer)\s+(?P<value>[\w=~.+/-]{16,4096})",
    re.IGNORECASE | re.ASCII,
)
_ADDRESS_PATTERN = re.compile(
    rf"(?<![A-Za-z0-9+.-]){_SCHEME}[^\s/:@\"'<>]{{0,100}}:(?P<value>[^\s/:@\"'<>${{}}]{{3,100}})@[A-Za-z0-9\[]"
)
_EMAIL_PATTERN = re.compile(rf"(?<![A-Za-z0-9._%+-]){_EMAIL}(?![A-Za-z0-9-])")
# Looks ahead, so that another group of digits before a number hides nothing: 1000 4111 1111 1111 1111.
_CARD_PATTERN = re.compile(
    r"(?<![\w.,+/#-])(?=(?P<number>[0-9]{13,19}|[0-9]{4}(?P<mark>[ -])[0-9]{4}(?P=mark)[0-9]{4}(?P=mark)[0-9]{1,7}"
    r"|3[0-9]{3}(?P<short>[ -])[0-9]{6}(?P=short)[0-9]{4,5})(?![\w/-]|[.,][0-9]))",
    re.ASCII,
)
_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|09|[689][0-9])[0-9]{11}"  # Diners Club
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2})[0-9]{12,15}"  # Discover, UnionPay
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|(?:5018|5020|5038|5893|6304|6759|676[123])[0-9]{9,15}"  # Maestro
)
# RFC 2606 and 6761 keep these for examples; a file's name and the user of Git's addresses only look like an address.
_NO_PERSON = re.compile(
    r"@(?:[a-z0-9-]+\.)*example\.(?:com|net|org|edu)$|\.(?:example|test|invalid|localhost|local)$"
    r"|\.(?:png|jpe?g|gif|svg|webp|css|js|py|html?|json)$|^git@",
    re.IGNORECASE,
)
# gitleaks asks most of its keys for this much entropy, in bits a character; placeholders such as xxxx have less.
_LEAST_ENTROPY = 3.0
_PLACEHOLDER = re.compile(r"EXAMPLE$|x{6}|X{6}|\*{3}|\.{3}|…|1234567890abcdef|abcdefghijklmnop", re.ASCII)

_NO_PASSWORDS = ("password", "pass", "passwd", "pwd", "secret")


def find_secrets(text: str) -> Iterator[tuple[str, str]]:
    """Find secrets and personal data in a text.

    Returns:
        Pairs of a kind in `RULES` and what was found.
    """
    for match in _PRIVATE_KEY.finditer(text) if "-----BEGIN" in text else ():
        yield "private_key", match[0]
    taken: list[tuple[int, int]] = []
    has_run = _LONG_RUN.search(text) is not None
    # What a pattern needs is found sooner than that it does not match.
    patterns = (
        (_KEY_PATTERN, has_run),
        (_ADDRESS_PATTERN, "://" in text),
        (_BEARER_PATTERN, has_run),
        (_NAMED_PATTERN, ":" in text or "=" in text),
    )
    for pattern in (pattern for pattern, may_match in patterns if may_match):
        for match in pattern.finditer(text):
            group = "value" if pattern is not _KEY_PATTERN else 0
            if not _overlaps(match.span(group), taken) and _is_secret(pattern, match[group]):
                taken.append(match.span(group))
                yield "api_key", match[group]
    for match in _CARD_PATTERN.finditer(text):
        span = match.span("number")
        if not _overlaps(span, taken) and is_card_number(re.sub("[ -]", "", match["number"])):
            taken.append(span)
            yield "card_number", match["number"]
    for match in _EMAIL_PATTERN.finditer(text) if "@" in text else ():
        if not _overlaps(match.span(), taken) and not _NO_PERSON.search(match[0]):
            yield "email_address", match[0]


def is_card_number(digits: str) -> bool:
    """Whether digits are a card number: of an issuer that there is, with the right check digit (Luhn's)."""
    if not _ISSUERS.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_secret(pattern: "re.Pattern[str]", value: str) -> bool:
    if _PLACEHOLDER.search(value):
        return False
    if pattern is _ADDRESS_PATTERN:
        return value not in _NO_PASSWORDS
    has_digit = any(map(str.isdigit, value))
    if pattern is _NAMED_PATTERN:
        # Else it may be any word: "password: forgotten".
        return has_digit and any(map(str.isalpha, value))
    # Words with hyphens may look like these; keys have digits.
    needs_digit = pattern is _BEARER_PATTERN or value.startswith("sk-")
    return (has_digit or not needs_digit) and _entropy(value) >= _LEAST_ENTROPY


def _entropy(value: str) -> float:
    """Shannon's, in bits a character."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())


def _overlaps(span: tuple[int, int], taken: list[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in taken)
