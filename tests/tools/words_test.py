"""The words by which examples are compared: what matters to them and what does not."""

import unittest

from tests.tools.support import ToolTest


class Words(ToolTest):
    def expect(self, text, expected):
        from rondo_tools.words import words

        self.assertEqual(words(text), expected, repr(text))

    def test_case_punctuation_and_space_do_not_matter(self):
        for text in (
            "hello world it s me",
            "Hello, WORLD!\n\t It's -- me...",
            "(hello) world_it's|me",
        ):
            self.expect(text, "hello world it s me")

    def test_numbers_and_the_signs_before_them_do(self):
        self.expect("12 - 5", "12 - 5")
        self.expect("12+5", "12 + 5")
        self.expect("x > 3.50, y=1,000.", "x > 3.50 y = 1,000")
        self.expect("well-known 5-a-day. 7.", "well known 5 a day 7")

    def test_other_scripts(self):
        self.expect("Ｆｕｌｌ　Straße", "full strasse")
        self.expect("日本語 ok", "日 本 語 ok")
        self.expect("हिन्दी 😀😀 5−3 « ça »", "हिन्दी 😀 😀 5 - 3 ça")
        self.expect("e\u0301 é", "é é")

    def test_control_characters_are_no_signs(self):
        self.expect("a\x0e\x10b 1\x0e2", "a b 1 2")

    def test_ascii_is_the_same_by_either_way(self):
        from rondo_tools.words import words

        for text in map(chr, range(128)):
            for around in ("{}", "a{}b", "1{}2", "{} 3"):
                plain = around.format(text)
                self.assertEqual(
                    words(plain + " \u00e9"), f"{words(plain)} \u00e9".strip(), repr(plain)
                )

    def test_turns(self):
        from rondo_tools.words import of_turns

        turns = [("system", "Be kind."), ("user", "Hi?"), ("assistant", "..."), ("user", "é")]
        self.assertEqual(of_turns(turns), "u hi\na\nu é".encode())


if __name__ == "__main__":
    unittest.main()
