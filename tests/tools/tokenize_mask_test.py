"""The loss mask: with and without {% generation %} marks, and templates that are refused."""

import json
import shutil
import unittest
from unittest import mock

import h5py
from tokenizers import Tokenizer

from tests.tools.support import (
    MARKED_TEMPLATE,
    PLAIN_TEMPLATE,
    ToolTest,
    conversation,
    run_tool,
    write_jsonl,
)

ROWS = [
    conversation("What is two plus two?", "It is four."),
    conversation("Say hello", "Hello there!", "Again?", "Hello\n\n hello \u00e9\u4f60."),
]


class TokenizeMask(ToolTest):
    def tokenise(self, template, rows=ROWS, name="out.h5", options=()):
        path = self.folder / f"{name}.jinja"
        path.write_text(template, encoding="utf-8")
        return run_tool(
            "tokenize", "--input", write_jsonl(self.folder / "rows.jsonl", rows), "--tokenizer",
            self.tokenizer, "--template", path, "--out", self.folder / name, "--workers", 1,
            *options,
        )  # fmt: skip

    def arrays(self, name):
        with h5py.File(self.folder / name) as file:
            return file["tokens"][:].tolist(), file["weights"][:].tolist()

    def refused(self, template, *texts):
        done = self.tokenise(template)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertFalse((self.folder / "out.h5").exists())
        for text in texts:
            self.assertIn(text, done.stderr)

    def test_marks_and_prefixes_give_the_same_mask(self):
        for name, template in (("marked.h5", MARKED_TEMPLATE), ("plain.h5", PLAIN_TEMPLATE)):
            done = self.tokenise(template, name=name)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.arrays("marked.h5"), self.arrays("plain.h5"))

    def test_agrees_with_transformers(self):
        from transformers import AutoTokenizer

        self.assertEqual(self.tokenise(PLAIN_TEMPLATE).returncode, 0)
        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer)
        tokens, weights = [], []
        for row in ROWS:
            encoded = tokenizer.apply_chat_template(
                row["messages"], chat_template=MARKED_TEMPLATE, return_dict=True,
                return_assistant_tokens_mask=True,
            )  # fmt: skip
            tokens += encoded["input_ids"]
            weights += encoded["assistant_masks"]
        self.assertEqual(self.arrays("out.h5"), (tokens, weights))

    def test_template_that_writes_thoughts_into_the_last_turn_only(self):
        template = PLAIN_TEMPLATE.replace(
            "{{- m['content']", "{{- ('<think></think>' if loop.last else '') + m['content']", 1
        )
        self.assertEqual(self.tokenise(template, ROWS[1:]).returncode, 0)
        tokens, weights = self.arrays("out.h5")
        decoder = Tokenizer.from_file(str(self.tokenizer / "tokenizer.json"))
        trained = [token for token, weight in zip(tokens, weights, strict=True) if weight]
        self.assertEqual(
            decoder.decode(trained, skip_special_tokens=False),
            "Hello there!<|im_end|><think></think>Hello\n\n hello \u00e9\u4f60.<|im_end|>",
        )

    def test_rows_of_which_the_template_leaves_out_part_of_an_answer_are_counted(self):
        thoughts = "{{- m['content'].split('</think>')[-1] if not loop.last else m['content']"
        rows = [
            conversation("Say hello", "<think>Hm.</think>Hello there!"),
            conversation("Say hello", " Hello. ", "Again?", "<think>Hm.</think>Hello."),
            conversation("Say hello", "<think>Hm.</think>Hello.", "Again?", "Hello."),
            conversation("Say hello", "<think>So.</think>Hello.", "Again?", "Hello."),
        ]
        for template in (PLAIN_TEMPLATE, MARKED_TEMPLATE):
            done = self.tokenise(template, rows)
            self.assertNotIn("left out", done.stdout)
            shortening = template.replace("{{- m['content']", f"{{%- set c -%}}{thoughts} }}}}"
                                          "{%- endset -%}{{- c", 1)  # fmt: skip
            for workers in (1, 2):
                how = ("--workers", workers, "--multi-turn", "whole")
                done = self.tokenise(shortening, rows, options=how)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("4 examples", done.stdout)
                text = "the template left out part of an answer in 2 rows (first: "
                self.assertIn(f"{text}{self.folder}/rows.jsonl:3)", done.stdout)
            done = self.tokenise(shortening, rows)
            self.assertIn("6 examples", done.stdout)
            self.assertIn("2 rows were cut into one example per answer", done.stdout)
            self.assertNotIn("left out", done.stdout)

    def test_end_of_turn_outside_the_marks_is_an_error(self):
        template = MARKED_TEMPLATE.replace(
            "{{- m['content'] + '<|im_end|>' -}}{%- endgeneration -%}",
            "{{- m['content'] -}}{%- endgeneration -%}{{- '<|im_end|>' -}}",
        )
        self.refused(template, "<|im_end|> would not be trained", ">>It is four.<<<|im_end|>")

    def test_template_without_end_of_turn_is_an_error(self):
        template = "{%- for m in messages -%}{{ m['role'] }}: {{ m['content'] }}\n{% endfor -%}"
        self.refused(template, "no control token follows the answer")

    def test_template_that_leaves_out_the_answer_is_an_error(self):
        template = PLAIN_TEMPLATE.replace("m['content']", "'?'")
        self.refused(template, "leaves out the answer", "--template", "sources.NAME.template")

    def test_untrained_answers_are_an_error(self):
        template = MARKED_TEMPLATE.replace("'assistant' -%}{%- gen", "'robot' -%}{%- gen")
        self.refused(template, "answer is not trained")

    def test_trained_header_is_an_error(self):
        template = PLAIN_TEMPLATE.replace("{%- if add_generation_prompt", "{%- if false")
        self.refused(template, "header of the assistant's turn would be trained")

    def test_trained_question_is_an_error(self):
        template = (
            "{%- for m in messages -%}{%- generation -%}{{ '<|im_start|>' + m['role'] + '\\n' + "
            "m['content'] + '<|im_end|>' }}{%- endgeneration -%}{%- endfor -%}"
        )
        self.refused(template, "would be trained", ">>")

    def test_other_tokens_in_the_prompt_alone_are_an_error(self):
        template = PLAIN_TEMPLATE.replace("assistant\\n'", "assistant\\n '")
        self.refused(template, "mask is unsound")

    def test_doubled_beginning_of_text_is_an_error(self):
        folder = self.folder / "bos"
        folder.mkdir()
        for path in self.tokenizer.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["bos_token"] = "<|endoftext|>"
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "chat_template.jinja").write_text(
            "{{- bos_token + bos_token -}}" + MARKED_TEMPLATE
        )
        done = run_tool(
            "tokenize", "--input", write_jsonl(self.folder / "rows.jsonl", ROWS), "--tokenizer",
            folder, "--out", self.folder / "out.h5",
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertIn("beginning-of-text token is doubled", done.stderr)

    def test_invalid_jinja_is_an_error(self):
        self.refused("{% for m in messages %}", "not valid Jinja")

    def test_name_of_no_template_says_what_a_template_may_be(self):
        done = run_tool(
            "tokenize", "--input", write_jsonl(self.folder / "rows.jsonl", ROWS), "--tokenizer",
            self.tokenizer, "--out", self.folder / "out.h5", "--template", "chatmll",
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertIn("chatmll: no such template file (a template is a file, auto, ", done.stderr)

    def test_code_beside_a_tokenizer_is_neither_run_nor_asked_for(self):
        from rondo_tools.errors import UserError
        from rondo_tools.tokenizer_folder import load

        folder, ran = self.folder / "own", self.folder / "ran"
        shutil.copytree(self.tokenizer, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["tokenizer_class"] = "Own"
        config["auto_map"] = {"AutoTokenizer": ["own.Own", "own.Own"]}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "own.py").write_text(
            f"open({str(ran)!r}, 'w').close()\n"
            "from transformers import PreTrainedTokenizerFast as Own\n"
        )
        with mock.patch("builtins.input", return_value="y") as asked:
            with self.assertRaisesRegex(UserError, "code of its own.* is not run"):
                load(folder)
            asked.assert_not_called()
        self.assertFalse(ran.exists())

    def test_a_token_over_the_edge_of_an_answer_is_rejected(self):
        rows = [*ROWS, conversation("Say hello", ": hello")]
        for template in (PLAIN_TEMPLATE, MARKED_TEMPLATE):
            colon = template.replace("m['role'] + '\\n'", "m['role'] + ':'")
            colon = colon.replace("assistant\\n'", "assistant:'")
            done = self.tokenise(colon, rows, options=("--max-rejected", 0.5))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("2 examples", done.stdout)
            self.assertIn("1 rejected (mask is unsound: 1)", done.stdout)


class Encoding:
    """What a tokenizers.Encoding says of the characters of its tokens."""

    def __init__(self, *offsets):
        self.offsets = list(offsets)
        self.ids = range(len(offsets))

    def __len__(self):
        return len(self.offsets)

    def char_to_token(self, at):
        found = (n for n, (begin, end) in enumerate(self.offsets) if begin <= at < end)
        return next(found, None)

    def token_to_chars(self, token):
        return self.offsets[token]


def weights(offsets, spans):
    """Codes of tokens with these offsets."""
    from rondo_tools.encoder import ByOffsets
    from rondo_tools.mask import token_weights

    return list(token_weights(ByOffsets(Encoding(*offsets)), spans)[0])


class TokenWeights(unittest.TestCase):
    def test_spans_become_weights(self):
        offsets = [(0, 2), (2, 5), (5, 6), (6, 8), (8, 9)]
        self.assertEqual(weights(offsets, [(2, 6, 1.0)]), [0, 1, 1, 0, 0])
        self.assertEqual(weights(offsets, [(0, 5, 1.0), (6, 9, 1.0)]), [0, 1, 0, 1, 1])

    def test_characters_without_a_token_are_no_matter(self):
        offsets = [(0, 2), (3, 5), (6, 6), (7, 8)]
        self.assertEqual(weights(offsets, [(2, 9, 1.0)]), [0, 1, 1, 1])
        self.assertEqual(weights(offsets, [(3, 6, 1.0)]), [0, 1, 0, 0])

    def test_tokens_of_one_character_belong_together(self):
        offsets = [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]
        self.assertEqual(weights(offsets, [(1, 2, 1.0)]), [0, 1, 1, 1, 0])

    def test_a_straddling_token_is_a_fault(self):
        from rondo_tools.row_fault import RowFault

        for span in ((1, 4, 1.0), (0, 3, 1.0)):
            with self.assertRaisesRegex(RowFault, "mask is unsound"):
                weights([(0, 2), (2, 4)], [span])


if __name__ == "__main__":
    unittest.main()
