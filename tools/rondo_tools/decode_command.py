"""tools/decode: generated token ids -> text, one JSON object per prompt, in order."""

import argparse

from rondo_tools import generated_file, jsonl
from rondo_tools.errors import UserError
from rondo_tools.tokenizer_folder import load


def decoded(completions, tokenizer, prompts):
    """Objects {"id", "completion", "finished"}, over the fields of the prompts' rows if given.

    Control tokens that the model wrote into its answer stay visible.
    """
    decoder = tokenizer.backend_tokenizer
    for number, completion in enumerate(completions):
        row = prompts[number] if prompts is not None else {}
        yield {
            **row,
            "id": row.get("id", f"{completion.example_id:016x}"),
            "completion": decoder.decode(completion.tokens, skip_special_tokens=False),
            "finished": completion.finished,
        }


def main(arguments):
    parser = argparse.ArgumentParser(prog="decode", description=__doc__)
    parser.add_argument("--generated", required=True, metavar="FILE.h5")
    parser.add_argument("--tokenizer", required=True, metavar="FOLDER")
    parser.add_argument(
        "--prompts", metavar="FILE.jsonl", help="the rows of the prompts, joined by their order"
    )
    parser.add_argument(
        "--max-examples", type=int, metavar="N", help="as for `rondo generate`: the first N rows"
    )
    parser.add_argument("--out", required=True, metavar="FILE.jsonl")
    options = parser.parse_args(arguments)
    completions = generated_file.read(options.generated)
    prompts = jsonl.read(options.prompts)[: options.max_examples] if options.prompts else None
    if prompts is not None and len(prompts) != len(completions):
        raise UserError(
            f"{options.prompts}: {len(prompts)} rows, but {options.generated} holds "
            f"{len(completions)} completions. Give the rows that were tokenised, all of them."
        )
    jsonl.write(options.out, decoded(completions, load(options.tokenizer), prompts))
    print(f"{options.out}: {len(completions)} completions")
    return 0
