"""Where tokens begin: by the lengths of their bytes as by the tokenizer's own offsets."""

import json
import random
import unittest

from tests.tools.support import ToolTest


class EncoderTest(ToolTest):
    TEXTS = (
        "", "a", "What is two plus two?", "<|im_start|>user\nSay hello<|im_end|>\n",
        "caf\u00e9 na\u00efve \u65e5\u672c\u8a9e \U0001f600!", "e\u0301 decomposed",
        "  two  spaces  ",
        "\u00e9" * 7 + "<|im_end|>" + "\U0001f469\u200d\U0001f4bb",
    )  # fmt: skip

    def encoder(self, change=lambda description: None):
        from rondo_tools.encoder import Encoder
        from rondo_tools.tokenizer_folder import load

        description = json.loads((self.tokenizer / "tokenizer.json").read_text())
        change(description)
        folder = self.folder / "changed"
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(description))
        return Encoder(load(folder))

    def check_equal(self, encoder):
        """Ids and beginnings are those of plain offsets, for every edge of many texts."""
        from rondo_tools.encoder import ByOffsets
        from rondo_tools.row_fault import RowFault

        def begins(encoding, edge):
            try:
                return encoding.token_at(edge)
            except RowFault as fault:
                return str(fault)

        draw = random.Random(1)
        pool = "ab \n?\u00e9\u65e5\U0001f600e\u0301" + "".join(self.TEXTS)
        texts = [
            *self.TEXTS,
            *("".join(draw.choices(pool, k=draw.randint(1, 30))) for _ in range(300)),
        ]
        plain = encoder.tokenizer.encode_batch(texts, add_special_tokens=False)
        for text, found, encoding in zip(texts, encoder.encode(texts), plain, strict=True):
            self.assertEqual(found.ids.tolist(), encoding.ids)
            for edge in range(len(text) + 1):
                expected = begins(ByOffsets(encoding), edge)
                self.assertEqual(begins(found, edge), expected, (text, edge))

    def ways(self, encoder):
        from rondo_tools.encoder import ByBytes

        return [isinstance(found, ByBytes) for found in encoder.encode(list(self.TEXTS))]

    def test_byte_level_tokens_tell_their_bytes(self):
        encoder = self.encoder()
        self.assertEqual(self.ways(encoder), [False] + [True] * (len(self.TEXTS) - 1))
        self.check_equal(encoder)

    def test_what_normalising_changes_is_left_to_the_offsets(self):
        encoder = self.encoder(lambda d: d.update(normalizer={"type": "NFC"}))
        ways = self.ways(encoder)
        self.assertFalse(ways[5])  # the decomposed one
        self.assertEqual(sum(ways), len(ways) - 2)
        self.check_equal(encoder)

    def test_lower_case_is_left_to_the_offsets(self):
        encoder = self.encoder(lambda d: d.update(normalizer={"type": "Lowercase"}))
        self.assertFalse(any(self.ways(encoder)))
        self.check_equal(encoder)

    def test_tokens_that_swallow_white_space_are_left_to_the_offsets(self):
        def strip(description):
            for token in description["added_tokens"]:
                token["rstrip"] = True

        encoder = self.encoder(strip)
        self.assertFalse(self.ways(encoder)[3])
        self.check_equal(encoder)

    def test_a_token_for_what_is_unknown_is_left_to_the_offsets(self):
        def lose(description):
            model = description["model"]
            gone = {"\u00e6", "\u00a5", "\u0142"}
            model["vocab"] = {t: n for t, n in model["vocab"].items() if not gone & set(t)}
            model["merges"] = [m for m in model["merges"] if not gone & set("".join(m))]
            model["unk_token"], model["fuse_unk"] = "a", True

        encoder = self.encoder(lose)
        self.assertFalse(any(self.ways(encoder)))
        self.check_equal(encoder)

    def test_dropout_is_for_pretraining_alone(self):
        encoder = self.encoder(lambda d: d["model"].update(dropout=0.5))
        text = "What is two plus two? Say hello to the user."
        self.assertEqual(len({tuple(encoder.ids(text)) for _ in range(20)}), 1)

    def test_bytes_that_the_vocabulary_lacks_are_left_to_the_offsets(self):
        def lose(description):
            vocab = description["model"]["vocab"]
            gone = {"\u00e6", "\u00a5"}  # the first byte of a character of three, and another
            description["model"]["vocab"] = {t: n for t, n in vocab.items() if not gone & set(t)}
            merges = description["model"]["merges"]
            description["model"]["merges"] = [m for m in merges if not gone & set("".join(m))]

        encoder = self.encoder(lose)
        self.assertFalse(self.ways(encoder)[4])
        self.check_equal(encoder)


if __name__ == "__main__":
    unittest.main()
