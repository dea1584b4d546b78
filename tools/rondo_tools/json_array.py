"""The elements of a JSON array, one by one, so that a file need not fit into memory."""

import codecs
import json
import re

_BLOCK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


class _Text:
    """What has been read of a file and not been taken yet."""

    def __init__(self, file, head):
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._decoder = json.JSONDecoder()
        self._text, self._at = self._decode(head), 0
        self._ended = False

    def _more(self):
        block = self._file.read(max(_BLOCK, len(self._text) - self._at))
        self._ended = not block
        self._text = self._text[self._at :] + self._decode(block, final=self._ended)
        self._at = 0

    def peek(self):
        """The next character that is no space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def take(self):
        character = self.peek()
        self._at += len(character)
        return character

    def value(self):
        """The text of the next JSON value; ValueError where there is none."""
        self.peek()
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:  # a number may go on
                    break
            except ValueError:
                if self._ended:
                    raise
            self._more()
        found, self._at = self._text[self._at : end], end
        return found


def elements(file, head):
    """Yields (number from 1, UTF-8 bytes) of each element. `head`: what has been read of the binary
    file, from its '[' on. ValueError, whose text names the element, where it is no JSON array."""
    text, number = _Text(file, head), 0
    try:
        text.take()
        more = text.peek() != "]" or not text.take()
        while more:
            number += 1
            yield number, text.value().encode("utf-8", "surrogatepass")
            sign = text.take()
            if sign not in (",", "]"):
                raise ValueError(f"expected ',' or ']' behind it, found {sign or 'the end'!r}")
            more = sign == ","
        if rest := text.peek():
            raise ValueError(f"{rest!r} follows the ']'")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"element {number}: {error}") from error
