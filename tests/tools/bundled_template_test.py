"""The bundled ChatML for tokenizers without a chat template: reserved ids, new ids, none needed."""

import json
import unittest

import h5py

from tests.tools.support import (
    MARKED_TEMPLATE,
    ToolTest,
    conversation,
    run_tool,
    write_jsonl,
)

ROWS = [conversation(f"What is {n} plus two?", f"It is {n + 2}.") for n in range(6)]


class BundledTemplate(ToolTest):
    def setUp(self):
        super().setUp()
        self.rows = write_jsonl(self.folder / "rows.jsonl", ROWS)

    def base(self, control_tokens, name="base", template=None, begins=False, config=None):
        """A base model's tokenizer: the tests' own without template, with other control tokens."""
        folder = self.folder / name
        folder.mkdir()
        tokenizer = json.loads((self.tokenizer / "tokenizer.json").read_text())
        for old, new in zip(("<|im_start|>", "<|im_end|>"), control_tokens, strict=True):
            token = next(t for t in tokenizer["added_tokens"] if t["content"] == old)
            number = tokenizer["model"]["vocab"].pop(old, token["id"])
            if new is None:  # the last ids: none is left behind them
                tokenizer["added_tokens"].remove(token)
                spare = f"spare{number}"
                tokenizer["model"]["vocab"][spare] = number
                continue
            token["content"] = new
            tokenizer["model"]["vocab"][new] = number
        if begins:
            bos = "<|endoftext|>"
            begin = {"SpecialToken": {"id": bos, "type_id": 0}}
            text = {"Sequence": {"id": "A", "type_id": 0}}
            ids = next(t["id"] for t in tokenizer["added_tokens"] if t["content"] == bos)
            tokenizer["post_processor"] = {
                "type": "TemplateProcessing", "single": [begin, text], "pair": [begin, text, text],
                "special_tokens": {bos: {"id": bos, "ids": [ids], "tokens": [bos]}},
            }  # fmt: skip
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        described = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>"}
        described |= config or {}
        (folder / "tokenizer_config.json").write_text(json.dumps(described))
        if template:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    def tokenise(self, base, *options):
        return run_tool(
            "tokenize", "--input", self.rows, "--tokenizer", base, "--workers", 1,
            "--out", self.folder / "out.h5", *options,
        )  # fmt: skip

    def made(self, base, *options):
        """(what was said, the made tokenizer as transformers loads it)."""
        from transformers import AutoTokenizer

        done = self.tokenise(base, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, AutoTokenizer.from_pretrained(self.folder / "out.h5.tokenizer")

    def check_tokens(self, tokenizer, begins=""):
        with h5py.File(self.folder / "out.h5") as file:
            first = slice(*file["offsets"][0:2])
            tokens, weights = file["tokens"][first], file["weights"][first]
            end = int(file.attrs["end_of_turn_id"])
        whole = tokenizer.decode(tokens)
        turn = "<|im_start|>user\nWhat is 0 plus two?<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(whole, f"{begins}{turn}It is 2.<|im_end|>\n")
        self.assertEqual(tokenizer.decode(tokens[weights > 0]), "It is 2.<|im_end|>")
        self.assertEqual(end, tokenizer.convert_tokens_to_ids("<|im_end|>"))
        # As a server will render and encode it.
        encoded = tokenizer.apply_chat_template(ROWS[0]["messages"], return_dict=True)["input_ids"]
        self.assertEqual(list(tokens), encoded)

    def test_reserved_ids_are_taken(self):
        names = ("<|reserved_special_token_0|>", "<|reserved_special_token_1|>")
        base = self.base(names, config={"additional_special_tokens": list(names)})
        said, tokenizer = self.made(base)
        self.assertIn("no chat template: ChatML is used", said)
        self.assertIn("<|im_end|> takes the id 2 of <|reserved_special_token_1|>", said)
        self.check_tokens(tokenizer)
        self.assertEqual(tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]), [1, 2])
        self.assertFalse(set(names) & set(tokenizer.get_vocab()))
        with h5py.File(self.folder / "out.h5") as file:
            before = json.loads((self.tokenizer / "tokenizer.json").read_text())
            self.assertEqual(file.attrs["vocab_size"], len(before["model"]["vocab"]))

    def test_reserved_ids_of_other_makers_are_taken(self):
        pairs = (("[control_8]", "[control_9]"), ("<unused0>", "<unused1>"))
        for number, names in enumerate(pairs):
            said, tokenizer = self.made(self.base(names, f"base{number}"))
            self.assertIn(f"<|im_start|> takes the id 1 of {names[0]}", said)
            self.check_tokens(tokenizer)

    def test_ids_are_added_where_none_is_reserved(self):
        base = self.base((None, None))
        said, tokenizer = self.made(base)
        size = len(json.loads((base / "tokenizer.json").read_text())["model"]["vocab"])
        self.assertIn(f"<|im_start|> is added as id {size}", said)
        self.check_tokens(tokenizer)
        with h5py.File(self.folder / "out.h5") as file:
            self.assertEqual(file.attrs["vocab_size"], size + 2)

    def test_text_begins_as_the_tokenizer_begins_it(self):
        names = ("<|reserved_special_token_0|>", "<|reserved_special_token_1|>")
        _, tokenizer = self.made(self.base(names, begins=True))
        self.check_tokens(tokenizer, begins="<|endoftext|>")

    def test_a_tokenizer_with_a_template_is_used_as_it_is(self):
        done = self.tokenise(self.tokenizer)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("ChatML", done.stdout)
        self.assertFalse((self.folder / "out.h5.tokenizer").exists())

    def test_by_name_it_goes_before_the_tokenizers_own(self):
        own = MARKED_TEMPLATE.replace("user", "person")
        base = self.base(("<|im_start|>", "<|im_end|>"), template=own)
        said, tokenizer = self.made(base, "--template", "chatml")
        self.assertIn("ChatML is used", said)
        self.assertEqual(tokenizer.chat_template, own)
        with h5py.File(self.folder / "out.h5") as file:
            self.assertIn(b"tool_call", file.attrs["chat_template"])

    def test_prepare_makes_one_tokenizer_for_the_run_and_keeps_it(self):
        base = self.base((None, None))
        config = self.folder / "config.yaml"
        config.write_text(
            f"run: {{name: r, dir: {self.folder}/runs}}\ntokenizer: {base}\n"
            f"sources: {{a: {{train: {self.rows}, heldout: {{split: 2}}}}}}\n"
            f"rounds: [{{name: one, data: {{a: 1.0}}, epochs: 1}}]\n"
        )
        self.assertEqual(run_tool("prepare", config, "--workers", 1).returncode, 0)
        folder = self.folder / "runs" / "cache" / "r" / "tokenizer"
        first = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.assertIn("chat_template.jinja", first)
        again = run_tool("prepare", config, "--workers", 1)
        self.assertIn("ChatML is used", again.stdout)
        self.assertIn("a.train: fresh", again.stdout)
        self.assertEqual(first, {path.name: path.read_bytes() for path in folder.iterdir()})
        # Named by the user, it is any tokenizer, and stays.
        named = run_tool("prepare", config, f"tokenizer={folder}", "--workers", 1)
        self.assertIn("a.train: fresh", named.stdout)
        wrong = run_tool("prepare", config, "sources.a.template=chatm", "--workers", 1)
        self.assertIn("chatm: no such template file", wrong.stderr)
        self.assertEqual(first, {path.name: path.read_bytes() for path in folder.iterdir()})
        # What is damaged is made again.
        (folder / "tokenizer.json").write_text("{}")
        self.assertEqual(run_tool("prepare", config, "--workers", 1).returncode, 0)
        self.assertEqual(first, {path.name: path.read_bytes() for path in folder.iterdir()})
        # With a template of its own the tokenizer needs none made.
        own = MARKED_TEMPLATE.replace("<|im_end|>", "<|endoftext|>")
        (base / "chat_template.jinja").write_text(own)
        self.assertEqual(run_tool("prepare", config, "--workers", 1).returncode, 0)
        self.assertFalse((folder / "made.json").exists())
        self.assertTrue((folder / "tokenizer.json").exists())  # checkpoints may name it


if __name__ == "__main__":
    unittest.main()
