"""Small tokenised files (docs/formats/tokenized.md) for tests, written from memory."""

import h5py
import numpy as np


def _first(codes):
    """Place of the first that is not 0; their number if all are."""
    return next((i for i, code in enumerate(codes) if code), len(codes))


def _words(tokens, codes):
    """Two turns, cut where the weights begin; each token is a word."""
    first = _first(codes)
    turns = ["u", *map(str, tokens[:first])], ["a", *map(str, tokens[first:])]
    return "\n".join(" ".join(turn) for turn in turns).encode()


def write_tokenized(
    path, examples, *, vocab, end_of_turn=-1, table=(0.0, 1.0), first_id=1, hash_digit="0"
):
    """`examples`: pairs (token ids, weight codes)."""
    lengths = [len(tokens) for tokens, _ in examples]
    words = [_words(tokens, codes) for tokens, codes in examples]
    prompts = [_first(codes) for _, codes in examples]
    count = len(examples)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "rondo.tokenized"
        file.attrs["version"] = np.int64(2)
        for name in ("tokenizer_hash", "template_hash", "settings_hash"):
            file.attrs[name] = hash_digit * 32
        file.attrs["vocab_size"] = np.int64(vocab)
        file.attrs["end_of_turn_id"] = np.int64(end_of_turn)
        for name, text in (("source_files", "[]"), ("counts", "{}"), ("tag_names", "[]")):
            file.attrs[name] = text
        file["tokens"] = np.concatenate([tokens for tokens, _ in examples]).astype(np.int32)
        file["weights"] = np.concatenate([codes for _, codes in examples]).astype(np.uint8)
        file["weight_table"] = np.array(table, np.float32)
        file["offsets"] = np.cumsum([0, *lengths]).astype(np.int64)
        file["words"] = np.frombuffer(b"".join(words), np.uint8)
        file["word_offsets"] = np.cumsum([0, *map(len, words)]).astype(np.int64)
        file["example_id"] = np.arange(first_id, first_id + count).astype(np.uint64)
        file["prompt_length"] = np.array(prompts, np.int64)
        file["file"] = np.zeros(count, np.uint16)
        file["row"] = np.arange(1, 1 + count).astype(np.int64)
        file["tag_offsets"] = np.zeros(count + 1, np.int64)
        file["tags"] = np.zeros(0, np.uint16)
    return path
