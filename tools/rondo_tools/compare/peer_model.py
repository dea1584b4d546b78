"""Model and packs of `rondo bench step` (src/train/bench_step.cpp), for PyTorch and transformers.

Token ids and initial weights are others than rondo's, drawn in the same way; shapes, documents and
labels are the same.
"""

import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rondo_tools.errors import UserError

VOCAB = 8192
SEQ_LEN = 512
DOCUMENT = 170
DOCUMENTS_PER_PACK = SEQ_LEN // DOCUMENT
REAL_TOKENS_PER_PACK = DOCUMENTS_PER_PACK * DOCUMENT
MOST_DIFFERENCE = 1e-4


def make_model(layers):
    """The same weights on every rank."""
    config = LlamaConfig(
        hidden_size=512,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        intermediate_size=1408,
        vocab_size=VOCAB,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        # With a cache, transformers ignores where documents begin.
        use_cache=False,
        attn_implementation="sdpa",
        dtype=torch.float32,
    )
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    # As rondo initialises what is added to the residual stream, so that losses compare.
    with torch.no_grad():
        for block in model.model.layers:
            for projection in (block.self_attn.o_proj, block.mlp.down_proj):
                projection.weight.mul_(1 / math.sqrt(2 * layers))
    return model


def make_tokens(packs, seed):
    """Ids [packs, SEQ_LEN], padding 0."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCAB, (packs, SEQ_LEN), generator=generator)
    tokens[:, REAL_TOKENS_PER_PACK:] = 0
    return tokens


def labelled_positions():
    """Of a pack: every second one of a document whose next token is in the document."""
    return torch.tensor(
        [
            begin + offset
            for begin in range(0, REAL_TOKENS_PER_PACK, DOCUMENT)
            for offset in range(0, DOCUMENT - 1, 2)
        ]
    )


def inputs_of(tokens):
    """Arguments of the model's forward. There is no attention mask: positions that restart are what
    tells transformers where a document begins, and any 2-D mask stops it from looking at them.
    """
    documents = torch.arange(DOCUMENT).repeat(DOCUMENTS_PER_PACK)
    padding = torch.arange(SEQ_LEN - REAL_TOKENS_PER_PACK)
    positions = torch.cat([documents, padding]).expand(len(tokens), -1)
    return {"input_ids": tokens, "position_ids": positions}


@torch.no_grad()
def packed_difference(model, inputs):
    """Largest difference between logits of the first pack and of its documents run alone."""
    first = {name: value[:1] if torch.is_tensor(value) else value for name, value in inputs.items()}
    packed = model(**first).logits[0]
    worst = 0.0
    for begin in range(0, REAL_TOKENS_PER_PACK, DOCUMENT):
        document = slice(begin, begin + DOCUMENT)
        alone = model(input_ids=first["input_ids"][:, document], use_cache=False).logits[0]
        worst = max(worst, (packed[document] - alone).abs().max().item())
    return worst


def check_packing(model, inputs):
    """Throws when documents of a pack see one another."""
    difference = packed_difference(model, inputs)
    if not difference < MOST_DIFFERENCE:
        raise UserError(
            f"peer: the logits of packed documents differ by {difference:.2g} from those of the "
            f"documents alone, expected less than {MOST_DIFFERENCE:g}: documents see one another, "
            "so its speed would prove nothing. Install the transformers of "
            "tools/requirements.txt (launch/setup)."
        )


def model_flops_per_token(model):
    """As rondo counts: 6 per matmul parameter and real token, the head only for labelled tokens,
    12 * layers * heads * head width per pair of query and key of a document."""
    config = model.config
    block_parameters = sum(
        module.weight.numel()
        for module in model.model.layers.modules()
        if isinstance(module, torch.nn.Linear)
    )
    width = config.num_attention_heads * config.head_dim
    pairs = DOCUMENTS_PER_PACK * DOCUMENT * (DOCUMENT + 1) // 2
    flops_per_pack = (
        6 * block_parameters * REAL_TOKENS_PER_PACK
        + 6 * model.lm_head.weight.numel() * len(labelled_positions())
        + 12 * config.num_hidden_layers * width * pairs
    )
    return flops_per_pack / REAL_TOKENS_PER_PACK
