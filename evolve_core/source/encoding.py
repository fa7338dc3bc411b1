"""Bytes of a file → its text, or a sentence that says why it has none."""

from __future__ import annotations

import codecs

_LOOKED_AT = 8192
_WIDE_MARKS = {
    # The marks of UTF-32 begin with those of UTF-16.
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class NotText(Exception):
    """``str(error)`` names the file, the cause and the next step."""


def text_of(data: bytes, name: str) -> str:
    """The text, without a mark of UTF-8 in front. Line endings are kept as they are. Raises NotText."""
    if wide := _wide(data):
        raise NotText(_wide_words(name, wide))
    if b"\0" in data[:_LOOKED_AT]:
        raise NotText(binary(name))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Its place counts from behind the mark.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise NotText(
            f"{name} is not UTF-8 text (line {line} has the byte {error.object[error.start]:#04x}); save it as UTF-8, "
            "or give it another suffix if it is data"
        ) from None


def binary(name: str) -> str:
    return (
        f"{name} holds NUL bytes: it is not source text, so it was not searched for kernels; save it as UTF-8 if it is "
        "meant to be source, or give it another suffix if it is data"
    )


def not_utf_8(text: str, name: str) -> str:
    """The same of a text that an editor decoded as something else, and that holds NUL characters since."""
    return _wide_words(name, "UTF-16") if _is_every_other_nul(text.encode("latin-1", "replace")) else binary(name)


def _wide_words(name: str, codec: str) -> str:
    return f"{name} is not UTF-8 (it looks like {codec}): save it as UTF-8"


def _wide(data: bytes) -> str:
    marked = next((name for mark, name in _WIDE_MARKS.items() if data.startswith(mark)), "")
    if marked and "\n" in data[: _LOOKED_AT * 4].decode(marked, "replace"):
        return marked  # Two bytes alone would make text of a good deal of data.
    return "UTF-16" if _is_every_other_nul(data) else ""


def _is_every_other_nul(data: bytes) -> bool:
    """Source in UTF-16 is ASCII for the most part, which makes one byte of two NUL and none of the others."""
    head = data[:_LOOKED_AT]
    fewer, more = sorted((head[::2], head[1::2]), key=lambda half: half.count(0))
    return fewer.count(0) == 0 and more.count(0) > len(head) // 4 and b"\n" in fewer
