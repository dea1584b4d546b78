"""`rondo generate` against transformers' greedy search, over ranks, and with wrong input."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy as np
import torch
import transformers

from tests.support.tokenized_file import write_tokenized

RONDO = os.environ["RONDO_BINARY"]
VOCAB = 97
STOP = 5
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": STOP,
    "pad_token_id": None,
}


def random_model(config_class, folder, **more):
    torch.manual_seed(3)
    config = config_class(**SIZES, **more)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms and biases begin as constants
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def write_prompts(path, prompts, end_of_turn=STOP, vocab=VOCAB, answer=1):
    """A tokenised file of prompts, each with an answer of one trained token."""
    examples = [([*prompt, answer], [0] * len(prompt) + [1]) for prompt in prompts]
    write_tokenized(path, examples, vocab=vocab, end_of_turn=end_of_turn, first_id=1000)


def rondo(*arguments, ranks=1):
    launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    return subprocess.run(
        launcher + [RONDO] + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def completions(path):
    with h5py.File(path) as file:
        offsets = file["offsets"][:]
        tokens = file["tokens"][:]
        return [
            (tokens[offsets[i] : offsets[i + 1]].tolist(), bool(file["finished"][i]))
            for i in range(len(offsets) - 1)
        ]


def by_transformers(model, prompt, new_tokens):
    with torch.no_grad():
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=STOP,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
    return (out[:-1], True) if out[-1] == STOP else (out, False)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        random = np.random.default_rng(1)
        self.prompts = [random.integers(0, VOCAB, n).tolist() for n in (1, 3, 9, 20, 14, 2, 7)]
        self.prompt_file = self.folder / "prompts.h5"
        self.out = self.folder / "out.h5"
        write_prompts(self.prompt_file, self.prompts)

    def generate(self, *more, ranks=1, model="model", expect=0):
        done = rondo(
            "generate",
            "--from",
            self.folder / model,
            "--prompts",
            self.prompt_file,
            "--out",
            self.out,
            "--max-new-tokens",
            24,
            *more,
            ranks=ranks,
        )
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done


class AgainstTransformers(Case):
    def test_greedy_gives_the_same_tokens(self):
        families = {
            "llama": (transformers.LlamaConfig, {}),
            "tied": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
            "qwen2": (transformers.Qwen2Config, {}),
            "qwen3": (transformers.Qwen3Config, {"head_dim": 16}),
        }
        ended = set()
        for name, (config, more) in families.items():
            with self.subTest(name):
                model = random_model(config, self.folder / name, **more)
                self.generate("--slots", 3, model=name)
                expected = [by_transformers(model, prompt, 24) for prompt in self.prompts]
                self.assertEqual(completions(self.out), expected)
                ended |= {finished for _, finished in expected}
        self.assertEqual(ended, {True, False})


class Command(Case):
    def setUp(self):
        super().setUp()
        random_model(transformers.LlamaConfig, self.folder / "model")

    def test_the_file_is_the_same_to_the_byte_for_every_number_of_ranks_and_slots(self):
        for sampling in ([], ["--temperature", 0.9, "--top-p", 0.95, "--seed", 7]):
            files = set()
            for ranks, slots in ((1, 16), (1, 1), (2, 4), (3, 2)):
                self.generate(*sampling, "--slots", slots, ranks=ranks)
                files.add(self.out.read_bytes())
            self.assertEqual(len(files), 1, sampling)

    def test_says_what_it_did(self):
        done = self.generate("--max-examples", 4, "--stop", 9, 8)
        with h5py.File(self.out) as file:
            self.assertEqual(file.attrs["format"], "rondo.generated")
            self.assertEqual(file.attrs["version"], 1)
            self.assertEqual(file["example_id"][:].tolist(), [1000, 1001, 1002, 1003])
            self.assertEqual(json.loads(file.attrs["settings"])["stop_ids"], [9, 8])
        self.assertIn("4 prompts", done.stdout)
        self.assertIn("tokens/s", done.stdout)
        self.assertEqual(os.listdir(self.folder).count("out.h5"), 1)
        self.assertFalse([name for name in os.listdir(self.folder) if name.endswith(".tmp")])
        done = rondo("inspect", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("4 completions", done.stdout)

    def test_a_prompt_without_room_is_said_and_gets_an_empty_completion(self):
        write_prompts(self.prompt_file, [[3] * 64, [3] * 60])
        done = self.generate("--stop", 96)
        self.assertIn("1 prompts fill all 64 positions", done.stderr)
        tokens = completions(self.out)
        self.assertEqual(tokens[0], ([], False))
        self.assertEqual(len(tokens[1][0]), 4)

    def expect_refusal(self, *more, text, ranks=2):
        done = self.generate(*more, ranks=ranks, expect=2)
        self.assertEqual(done.stderr.count(text), 1, done.stderr)
        self.assertFalse(self.out.exists())

    def test_wrong_input_ends_all_ranks_with_one_message(self):
        self.expect_refusal("--top-p", 0, text="top_p = 0")
        self.expect_refusal("--slots", 0, text="slots = 0")
        write_prompts(self.prompt_file, [[1, 2], [1, VOCAB + 3]])
        self.expect_refusal(text=str(VOCAB + 3))
        write_prompts(self.prompt_file, [[1, 2]], vocab=VOCAB + 1)
        self.expect_refusal(text="Tokenise with the model's own tokenizer")
        self.prompt_file.write_text("version https://git-lfs.github.com/spec/v1\n")
        self.expect_refusal(text="prompts.h5")
        self.prompt_file.unlink()
        self.expect_refusal(text="prompts.h5")


if __name__ == "__main__":
    unittest.main()
