"""From a base model whose tokenizer has no chat template to a model that answers in turns."""

import json
import unittest

import numpy as np

from tests.e2e import harness


class BaseModel(harness.RunTest):
    def setUp(self):
        super().setUp()
        self.texts = harness.make_texts(self.folder)
        self.base = self.make_base()

    def source(self):
        return {
            "arithmetic": {
                "train": str(self.texts / "arithmetic.train.jsonl"),
                "heldout": str(self.texts / "arithmetic.heldout.jsonl"),
            }
        }

    def make_base(self):
        """A model as rondo exports it, of whose tokenizer the template and the tokens that it
        needs are taken away."""
        one = {"name": "one", "data": {"arithmetic": 1.0}, "steps": 2}
        tokenizer = str(self.texts / "tokenizer")
        config = self.recipe("base", tokenizer=tokenizer, sources=self.source(), rounds=[one])
        harness.tool("prepare", config)
        self.train(config)
        base = self.run_folder("base") / "rounds" / "one" / "model"
        for name in ("chat_template.jinja", "generation_config.json", "special_tokens_map.json"):
            (base / name).unlink()
        tokenizer = json.loads((base / "tokenizer.json").read_text())
        for token in ("<|im_start|>", "<|im_end|>"):
            number = tokenizer["model"]["vocab"].pop(token)
            tokenizer["model"]["vocab"][f"spare{number}"] = number
        tokenizer["added_tokens"] = tokenizer["added_tokens"][:1]
        (base / "tokenizer.json").write_text(json.dumps(tokenizer))
        kind = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
        (base / "tokenizer_config.json").write_text(json.dumps(kind))
        return base

    def test_tokens_are_added_trained_and_exported(self):
        from safetensors.numpy import load_file
        from transformers import AutoModelForCausalLM, AutoTokenizer

        rounds = [
            {"name": "one", "data": {"arithmetic": 1.0}, "steps": 2},
            {"name": "two", "data": {"arithmetic": 1.0}, "steps": 2, "init": "base"},
        ]
        config = self.recipe(
            "chat", model={"from": str(self.base), "shape": None}, sources=self.source(),
            rounds=rounds, optimizer={"lr": 1e-9, "weight_decay": 0.0}, schedule={"warmup": 0},
        )  # fmt: skip
        made = harness.tool("prepare", config)
        self.assertIn("<|im_start|> is added as id 320", made)
        self.train(config, "run.max_steps=1")
        self.train(config, ranks=2)
        exported = self.run_folder("chat") / "rounds" / "two" / "model"
        tokenizer = AutoTokenizer.from_pretrained(exported)
        model = AutoModelForCausalLM.from_pretrained(exported)
        self.assertEqual(model.get_input_embeddings().weight.shape[0], harness.VOCAB + 2)
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.assertEqual(end, harness.VOCAB + 1)
        self.assertIn(end, np.atleast_1d(model.generation_config.eos_token_id))
        # With next to no learning rate the new rows are what they began as: the mean of the old.
        name = "model.embed_tokens.weight"
        rows = load_file(exported / "model.safetensors")[name]
        mean = load_file(self.base / "model.safetensors")[name].mean(axis=0)
        np.testing.assert_allclose(rows[harness.VOCAB :], [mean, mean], atol=1e-6)
        # It is a chat model now: another run begins from it without further ado.
        again = self.recipe(
            "again", model={"from": str(exported), "shape": None}, sources=self.source(),
            rounds=rounds[:1],
        )  # fmt: skip
        self.assertNotIn("ChatML", harness.tool("prepare", again))
        self.train(again)

    def test_another_tokenizer_behind_the_made_one_is_refused(self):
        config = self.recipe(
            "chat", model={"from": str(self.base), "shape": None}, sources=self.source(),
            rounds=[{"name": "one", "data": {"arithmetic": 1.0}, "steps": 1}],
        )  # fmt: skip
        harness.tool("prepare", config)
        kind = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|endoftext|>"}
        (self.base / "tokenizer_config.json").write_text(json.dumps(kind))
        done = self.train(config, expect=2)
        self.assertIn("was made from another tokenizer than", done.stderr)
        self.assertFalse(self.run_folder("chat").exists())


if __name__ == "__main__":
    unittest.main()
