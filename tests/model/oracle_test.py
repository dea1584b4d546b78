"""Logits, loss and every gradient of each model family against transformers and autograd."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import make_oracle
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
PROGRAM = os.path.join(os.path.dirname(os.environ["RONDO_BINARY"]), "model_oracle")


def relative(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)


def run(folder, batch, out, *precision):
    input_path = os.path.join(folder, "input.safetensors")
    make_oracle.save_input(batch, input_path)
    done = subprocess.run(
        [PROGRAM, folder, input_path, out, *precision], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr}")
    return load_file(os.path.join(out, "result", "model.safetensors"))


class Oracle(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.path = self.temporary.name

    def build(self, name):
        folder = os.path.join(self.path, name)
        model = make_oracle.build(name, folder)
        return model, folder, make_oracle.make_input(model.config.vocab_size)

    def compare(self, result, truth, batch):
        in_documents = np.concatenate([np.arange(b, e) for b, e in batch["documents"]])
        logits = relative(result["logits"][in_documents], truth["logits"][in_documents])
        self.assertLess(logits, 1e-4, "logits")
        weighted = float((truth["losses"] * batch["weights"]).sum())
        self.assertLess(relative(result["loss"], [weighted]), 1e-5, "loss")
        self.assertLess(relative(result["losses"], truth["losses"]), 1e-5, "losses of rows")
        self.assertLess(relative(result["weight"], [batch["weights"].sum()]), 1e-6)
        best = truth["logits"][batch["rows"]].argmax(axis=1)
        self.assertEqual(int(result["correct"][0]), int((best == batch["labels"]).sum()))
        names = {key[5:] for key in result if key.startswith("grad.")}
        self.assertEqual(names, set(truth["gradients"]))
        worst = ("", 0.0)
        for name, gradient in truth["gradients"].items():
            self.assertGreater(np.linalg.norm(gradient), 0, name)
            error = relative(result["grad." + name], gradient)
            self.assertLess(error, 1e-3, name)
            worst = max(worst, (name, error), key=lambda pair: pair[1])
        return logits, worst

    def check_family(self, name):
        model, folder, batch = self.build(name)
        truth = make_oracle.truth(model, batch)
        out = os.path.join(self.path, "out")
        result = run(folder, batch, out)
        logits, worst = self.compare(result, truth, batch)
        print(f"{name}: logits {logits:.1e}, worst gradient {worst[1]:.1e} ({worst[0]})")
        units = len(model.model.layers) + 2
        self.assertEqual(list(result["ready"]), list(range(units - 1, -1, -1)))
        self.check_export(model, folder, os.path.join(out, "export"), batch)

        # The same from config.json as older versions of transformers wrote it.
        make_oracle.downgrade_config(folder)
        again = run(folder, batch, os.path.join(self.path, "again"))
        np.testing.assert_array_equal(again["logits"], result["logits"])

    def check_bf16(self, name):
        """bfloat16 weights and activations are as near to float32 as those of transformers, whose
        gradients of weights are rounded as well. What export writes are the float32 master
        weights."""
        model, folder, batch = self.build(name)
        truth = make_oracle.truth(model, batch)
        theirs = make_oracle.truth(copy.deepcopy(model).to(torch.bfloat16), batch)
        out = os.path.join(self.path, "out")
        result = run(folder, batch, out, "bf16")
        in_documents = np.concatenate([np.arange(b, e) for b, e in batch["documents"]])

        def errors(of):
            return relative(of[in_documents], truth["logits"][in_documents])

        logits = errors(result["logits"])
        self.assertLess(logits, 1.2 * errors(theirs["logits"]), "logits")
        self.assertGreater(logits, 1e-4, "logits of float32")
        self.assertLess(relative(result["losses"], truth["losses"]), 5e-3, "losses of rows")
        weighted = float((truth["losses"] * batch["weights"]).sum())
        self.assertLess(relative(result["loss"], [weighted]), 1e-3, "loss")
        ratios = []
        for key, gradient in truth["gradients"].items():
            error = relative(result["grad." + key], gradient)
            ratios.append((error / relative(theirs["gradients"][key], gradient), error, key))
        ratio, error, key = max(ratios)
        print(f"{name} bf16: logits {logits:.1e}, worst gradient {ratio:.2f} of theirs ({key})")
        self.assertLess(np.mean([each[0] for each in ratios]), 1.1)
        self.assertLess(ratio, 2, key)
        self.check_export(model, folder, os.path.join(out, "export"), batch)

    def check_export(self, model, folder, export, batch):
        before = load_file(os.path.join(folder, "model.safetensors"))
        after = load_file(os.path.join(export, "model.safetensors"))
        self.assertEqual(set(after), set(before))
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values, name)
        loaded, info = transformers.AutoModelForCausalLM.from_pretrained(
            export, output_loading_info=True, attn_implementation="eager", dtype=torch.float32
        )
        self.assertFalse(info["missing_keys"] or info["unexpected_keys"], info)
        self.assertIs(type(loaded), type(model))
        ids = torch.tensor(batch["tokens"][:37])[None]
        with torch.no_grad():
            torch.testing.assert_close(
                loaded(ids, use_cache=False).logits,
                model(ids, use_cache=False).logits,
                rtol=0,
                atol=0,
            )
        self.assertEqual(loaded.generation_config.eos_token_id, [5, 2])

    def test_bad_input_is_named(self):
        """A config.json key that changes the computation ends with its name and exit code 2."""
        _, folder, batch = self.build("llama2")
        input_path = os.path.join(folder, "input.safetensors")
        make_oracle.save_input(batch, input_path)
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        for key, value in (
            ("logit_softcapping", 30.0),
            ("attention_bias", True),
            ("hidden_act", "gelu"),
            ("quantization_config", {"bits": 4}),
        ):
            with open(path, "w") as file:
                json.dump({**config, key: value}, file)
            done = subprocess.run(
                [PROGRAM, folder, input_path, os.path.join(self.path, "none")],
                check=False,
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(key, done.stderr)

    def test_negative_control(self):
        """Neighbouring documents joined into one must be noticed: the comparison can fail."""
        model, folder, batch = self.build("llama2")
        truth = make_oracle.truth(model, batch)
        joined = dict(batch, documents=np.array([(0, 38), (40, 131)]))
        result = run(folder, joined, os.path.join(self.path, "out"))
        self.assertGreater(relative(result["logits"][90:131], truth["logits"][90:131]), 1e-2)


def add_family(name):
    def test(self):
        self.check_family(name)

    def test_bf16(self):
        self.check_bf16(name)

    setattr(Oracle, f"test_{name}", test)
    setattr(Oracle, f"test_{name}_in_bf16", test_bf16)


for case in make_oracle.CASES:
    add_family(case)

if __name__ == "__main__":
    unittest.main()
