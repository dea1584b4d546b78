"""Words of a conversation: what examples are compared by (docs/formats/tokenized.md, "Words").

The form is made so that case, punctuation, white space and the width of characters do not matter,
while numbers and the signs between them do: "12 - 5" and "12 + 5" are different questions.
"""

import re
import unicodedata
from functools import lru_cache

ROLES = {"user": "u", "assistant": "a"}

_SIGNS = "+-*/=<>^"
_DIGIT = re.compile("[0-9]")
# A point or comma inside a number, and a sign in front of one, are kept: while the other
# punctuation is removed, control characters stand for them.
_KEPT = re.compile(r"[-+*/=<>^.,](?:(?<=[0-9][.,])(?=[0-9])|(?<![.,])(?=\s*[0-9]))")
_STAND_IN = {".": "\x0e", ",": "\x0f"} | {
    sign: f" {chr(0x10 + number)} " for number, sign in enumerate(_SIGNS)
}
_CONTROL = re.compile("[\x0e-\x17]")
_PLAIN = {code: " " for code in range(128) if not chr(code).isalnum()}
_WITH_STAND_INS = _PLAIN | {ord(other.strip(" ")): kept for kept, other in _STAND_IN.items()}
_PLAIN_BYTES, _WITH_STAND_INS_BYTES = (
    bytes(ord(table.get(code, chr(code))) if code < 128 else 0 for code in range(256))
    for table in (_PLAIN, _WITH_STAND_INS)
)
# Written without spaces: each character is a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def _stand_in(match):
    return _STAND_IN[match.group()]


@lru_cache(maxsize=1 << 16)
def _replacement(character):
    """What stands for a character beyond ASCII, after NFKC and case folding."""
    if character == "\u2212":
        return "-"
    kind = unicodedata.category(character)[0]
    if kind == "S" or (kind == "L" and _UNSPACED.match(character)):
        return f" {character} "
    return character if kind in "LMN" else " "


def words(text):
    """The words of a text, joined by single spaces."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", text).casefold()
        found = {ord(c): _replacement(c) for c in set(text) if c >= "\x80"}
        text = text.translate(found)
    has_digits = _DIGIT.search(text)
    if has_digits:
        if _CONTROL.search(text):
            text = _CONTROL.sub(" ", text)
        text = _KEPT.sub(_stand_in, text)
    if text.isascii():  # tables of bytes are faster than those of characters
        table = _WITH_STAND_INS_BYTES if has_digits else _PLAIN_BYTES
        return b" ".join(text.encode("ascii").translate(table).split()).decode("ascii")
    return " ".join(text.translate(_WITH_STAND_INS if has_digits else _PLAIN).split())


def of_turns(turns):
    """UTF-8 bytes: of (role, text) pairs those of users and assistants, a line each: the role's
    letter, then every word after a space."""
    lines = []
    for role, text in turns:
        if letter := ROLES.get(role):
            found = words(text)
            lines.append(f"{letter} {found}" if found else letter)
    return "\n".join(lines).encode("utf-8", "surrogatepass")
