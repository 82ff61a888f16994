"""Text files of other people's programs, in whatever encoding they were written."""

from __future__ import annotations

import pytest

from registry.formats.text_files import Undecodable, decode

WRITTEN = {
    "utf-8-sig": "names: [Brücke]\n",
    "utf-16": "names: [人, 汽车]\n",
    "utf-32": "names: [人, 汽车]\n",
    "utf-16-le": "path;label\r\na.jpg;knife\r\n",
    "utf-16-be": "path;label\r\na.jpg;knife\r\n",
    "cp1252": "path;label\r\npics/été_00.jpg;knife\r\n",
    "gb18030": "# 中文\nnames:\n  0: person\n",
    "cp932": "names: [人, 自転車, 車]\n",
    "cp950": "names: [人, 腳踏車, 汽車]\n",
    "cp1251": "names: [человек, машина]\n",
}


@pytest.mark.parametrize("encoding", WRITTEN)
def test_what_programs_write_is_read(encoding: str) -> None:
    assert decode(WRITTEN[encoding].encode(encoding)).content == WRITTEN[encoding]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "path,note\r\na.jpg,vérifié\r\n"),
        ("cp1252", "names: [straße]\n"),
        ("cp1252", "Größe; Öl; ça été; vélo’s\n"),
        ("gb18030", "人\n"),
        ("gb18030", "path,label\n图片/一.jpg,刀\n"),
        ("cp932", "写真/ソース.jpg,ナイフ\n"),
        ("cp932", "自動車\n歩行者\n"),
        ("cp932", "ｶﾒﾗ\n"),
        ("cp950", "# 中文\n"),
        ("utf-16-le", "Öl;label\r\na.jpg;knife\r\n"),
        ("utf-16-be", "Öl;label\r\na.jpg;knife\r\n"),
    ],
)
def test_a_few_words_are_enough_to_tell(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)).content == text
    assert decode(text.encode(encoding)).encoding == encoding


def test_what_the_text_names_decides_between_encodings_that_both_fit() -> None:
    """These bytes are Korean for person and car, and fair Chinese as well."""
    body = "사람,자동차".encode("euc_kr")
    assert decode(body).encoding == "gb18030"
    assert decode(body, lambda text: "자동차" in text).content == "사람,자동차"


@pytest.mark.parametrize(
    ("declared", "written"),
    [("gb2312", "gbk"), ("GBK", "gbk"), ("big5", "big5"), ("Shift_JIS", "cp932"), ("windows-1252", "cp1252"),
     ("iso-8859-1", "cp1252"), ("euc-kr", "cp949"), ("foo-8", "utf-8"), ("rot13", "utf-8"), ("ascii", "utf-8")],
)  # fmt: skip
def test_a_declared_encoding_is_taken_where_it_can_be(declared: str, written: str) -> None:
    text = {"gbk": "图片朋友", "big5": "圖片", "cp932": "写真", "cp1252": "“été”", "cp949": "사진"}.get(written, "äöüß")
    assert decode(text.encode(written), declared=declared).content == text


def test_gbk_whose_bytes_are_utf8_by_chance_is_read_as_what_it_is() -> None:
    body = "图片\n".encode("gbk")
    assert body.decode("utf-8") == "ͼƬ\n"
    assert decode(body).content == "图片\n"
    for text in ("Größe", "Žluťoučký kůň", "Ελλάδα", "фото", "图片", "写真", "사진", "ÄŸ"):
        assert decode(text.encode()).content == text


def test_a_file_that_is_utf8_is_that_whatever_it_declares() -> None:
    assert decode("汽车和自行车".encode(), declared="gb2312").content == "汽车和自行车"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "zero bytes"),
        (b"\xff\xfea\0b", "begins as UTF-16, but is damaged"),
        (bytes(range(1, 256)), "save it as UTF-8"),
        ("Übergröße: ".encode() + b"\xff", "is UTF-8, but damaged at byte 14"),
    ],
)
def test_what_is_no_text_says_why(body: bytes, message: str) -> None:
    with pytest.raises(Undecodable, match=message):
        decode(body)
