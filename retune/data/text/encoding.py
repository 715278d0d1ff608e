"""Reads a source's bytes as UTF-8; errors say where, and which encoding it probably is."""

import codecs
import re
import shlex

from retune.errors import SourceError

SAVE_AS_UTF8 = "Save the file as UTF-8; spreadsheets call it “CSV UTF-8”."

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LEAST_BAD = _LEAST_LETTERS = 3

# How each is called by people and by iconv, Python's codec, what texts in it are full of, and how full.
_FREQUENT = "的一是不了在人有我他这中大来上个国说们为你时到要就出会可也对能那得"
_FREQUENT_IN_TAIWAN = "的一是不了在人有我他這中大來上個國說們為你時到要就出會可也對能那得"
_OTHERS = (
    ("Shift_JIS (CP932)", "CP932", "cp932", "[ぁ-ヶー]", 0.2),
    ("EUC-JP", "EUC-JP", "euc_jp", "[ぁ-ヶー]", 0.2),
    ("GBK", "GB18030", "gb18030", f"[{_FREQUENT}]", 0.08),
    ("Big5", "BIG5-HKSCS", "big5hkscs", f"[{_FREQUENT_IN_TAIWAN}]", 0.08),
    ("EUC-KR (CP949)", "CP949", "cp949", "[가-힣]", 0.8),
    ("Windows-1251", "CP1251", "cp1251", "[а-яёіїє]", 0.7),
)
_LATIN = ("Windows-1252 (Latin-1)", "CP1252", "cp1252", "[à-öø-ÿÀ-ÖØ-ÝŒœŠšŽžß’‘“”–—…€«»°]", 0.7)
_MOST_LATIN = 0.4


def refuse_utf16(head: bytes, name: str) -> None:
    """Look at the first bytes of a file that should be UTF-8.

    Text of two bytes a character gives itself away by its mark, or by the zeros beside its plain letters, of which
    every table and JSON has some.

    Args:
        head: The first bytes.
        name: The file, for the error.

    Raises:
        SourceError: They are UTF-16.
    """
    if head.startswith(_UTF16_MARKS):
        raise SourceError(f"{name} is UTF-16; expected UTF-8.", hint=_how_to_convert(name, "UTF-16"))
    if 0 in head[:2] or (0 in head and "\N{REPLACEMENT CHARACTER}" in _as_utf8(head)):
        kind = "UTF-16LE" if head[1::2].count(0) >= head[0::2].count(0) else "UTF-16BE"
        raise SourceError(f"{name} is UTF-16; expected UTF-8.", hint=_how_to_convert(name, kind))


def refuse_other_encodings(head: bytes, name: str) -> None:
    """Look at the first kilobytes: where hardly anything beyond ASCII is UTF-8, they are in another encoding.

    A byte here and there that is damaged is left to whoever reads the rows.

    Args:
        head: They may end in a character.
        name: The file, for the error.

    Raises:
        SourceError: They are; it names the encoding that is the likeliest, where one is.
    """
    if head.isascii():
        return
    text = _as_utf8(head)
    n_bad = text.count("\N{REPLACEMENT CHARACTER}")
    if n_bad < _LEAST_BAD or len(text) - len(text.encode("ascii", "ignore")) > 2 * n_bad:
        return
    guess = _guess(head)
    if guess is None:
        return
    title, encoding = guess
    line = 1 + text.count("\n", 0, text.index("\N{REPLACEMENT CHARACTER}"))
    raise SourceError(
        f"{name}, line {line}: not UTF-8; by its letters the file is {title}.", hint=_how_to_convert(name, encoding)
    )


def _as_utf8(head: bytes) -> str:
    """The text as far as it is complete, with a mark where it isn't UTF-8."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(head)


def _guess(head: bytes) -> tuple[str, str] | None:
    """What people call the likeliest encoding, and what iconv does."""
    n_letters = sum(byte >= 0x80 or chr(byte).isalpha() for byte in head)
    is_latin = sum(byte >= 0x80 for byte in head) < _MOST_LATIN * n_letters
    for title, encoding, codec, full_of, share in (*_OTHERS, _LATIN):
        if (encoding == "CP1251" and is_latin) or (encoding == "CP1252" and not is_latin):
            continue
        try:
            text = codecs.getincrementaldecoder(codec)().decode(head)
        except UnicodeDecodeError:
            continue
        beyond = [letter for letter in text if not letter.isascii()]
        if len(set(beyond)) < _LEAST_LETTERS:
            continue
        if sum(re.fullmatch(full_of, letter) is not None for letter in beyond) >= share * max(1, len(beyond)):
            return title, encoding
    return None


def _how_to_convert(name: str, encoding: str) -> str:
    stem, dot, ending = name.rpartition(".")
    target = f"{stem}.utf8.{ending}" if dot and "/" not in ending else f"{name}.utf8"
    command = f"iconv -f {encoding} -t UTF-8 {shlex.quote(name)} > {shlex.quote(target)}"
    return f"Save it as UTF-8 (spreadsheets: “CSV UTF-8”), or convert it: {command}"


def describe_bad_utf8(error: UnicodeDecodeError) -> str:
    """Say which byte it is: "the byte 0xe9 is not UTF-8"."""
    return f"the byte 0x{error.object[error.start]:02x} is not UTF-8"
