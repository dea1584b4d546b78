"""Sizes of the models that `rondo bench step --shape` knows, as transformers writes them."""

_LLAMA = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}
_LLAMA |= {"rope_theta": 500000.0, "rms_norm_eps": 1e-5}
_QWEN = {"rope_theta": 1000000.0, "rms_norm_eps": 1e-6}


def _sizes(hidden, layers, ffn, tied, **more):
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": ffn,
        "tie_word_embeddings": tied,
        **more,
    }


def _qwen(hidden, layers, ffn, tied, heads, kv_heads, vocab):
    more = {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocab}
    return "qwen2", _sizes(hidden, layers, ffn, tied, **more, **_QWEN)


# The kind of configuration, and its sizes.
SHAPES = {
    "small": (
        "llama",
        _sizes(512, 12, 1408, False, num_attention_heads=8, num_key_value_heads=4, vocab_size=8192),
    ),
    "llama-3.2-1b": ("llama", _sizes(2048, 16, 8192, True, head_dim=64, **_LLAMA)),
    "llama-3.1-8b": ("llama", _sizes(4096, 32, 14336, False, head_dim=128, **_LLAMA)),
    "qwen2.5-0.5b": _qwen(896, 24, 4864, True, 14, 2, 151936),
    "qwen2.5-1.5b": _qwen(1536, 28, 8960, True, 12, 2, 151936),
    "qwen2.5-7b": _qwen(3584, 28, 18944, False, 28, 4, 152064),
}
