import pytest

from retune.data.text.encoding import refuse_other_encodings, refuse_utf16
from retune.errors import SourceError

TEXTS = {
    "cp932": "質問,回答\nカードはどこにありますか？,発送済みです。\n",
    "euc_jp": "質問,回答\nカードはどこにありますか？,発送済みです。\n",
    "gb18030": "问题,回答\n我的卡在哪里？,已经发货了，请您再等一下。\n",
    "big5hkscs": "問題,回答\n我的卡在哪裡？,已經寄出了，請您再等一下。\n",
    "cp949": "질문,답변\n내 카드는 어디에 있나요?,발송되었습니다.\n",
    "cp1251": "вопрос,ответ\nГде моя карта?,Уже отправлена.\n",
    "cp1252": "question,réponse\nOù est ma carte ?,Elle est envoyée, désolé : c’est déjà fait.\n",
    "latin_1": "Frage;Antwort\nStraße in Köln, schöne Größe?;Grüße aus München\n",
}
NAMES = {
    "cp932": r"Shift_JIS \(CP932\)",
    "euc_jp": "EUC-JP",
    "gb18030": "GBK",
    "big5hkscs": "Big5",
    "cp949": "EUC-KR",
    "cp1251": "Windows-1251",
    "cp1252": "Windows-1252",
    "latin_1": "Windows-1252",
}


@pytest.mark.parametrize("codec", TEXTS)
def test_the_likeliest_encoding_is_named_with_the_command_that_converts(codec: str) -> None:
    for n_times in (1, 30):
        with pytest.raises(SourceError, match=f"not UTF-8; by its letters the file is {NAMES[codec]}") as caught:
            refuse_other_encodings((TEXTS[codec] * n_times).encode(codec)[:3000], "my data/t.csv")
        assert "-t UTF-8 'my data/t.csv' > 'my data/t.utf8.csv'" in str(caught.value.hint)


@pytest.mark.parametrize("codec", TEXTS)
def test_truncated_utf8_is_recognized(codec: str) -> None:
    content = (TEXTS[codec] * 3).encode()
    for end in range(len(content) - 8, len(content)):
        refuse_other_encodings(content[:end], "t.csv")


def test_a_damaged_byte_here_and_there_is_left_to_the_rows() -> None:
    refuse_other_encodings("Grüße, schöne Straße\n".encode() * 9 + b"\xe9\xe9\xe9\xe9", "t.csv")
    refuse_other_encodings(b"a,b\nx,\xe9\n", "t.csv")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("text", [TEXTS["cp1252"], TEXTS["cp932"] * 9 + "id,label\n"])
def test_utf16_is_found_without_its_mark(codec: str, text: str) -> None:
    with pytest.raises(SourceError, match=r"t\.csv is UTF-16") as caught:
        refuse_utf16(text.encode(codec), "t.csv")
    assert f"iconv -f {codec.upper().replace('-LE', 'LE').replace('-BE', 'BE')} -t" in str(caught.value.hint)
