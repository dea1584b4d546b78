"""tools/decode: generated token ids -> text, one JSON object per prompt, in order."""

import argparse
import json
from pathlib import Path

from rondo_tools import generated_file, jsonl
from rondo_tools.errors import UserError
from rondo_tools.tokenized_file import read_attributes
from rondo_tools.tokenizer_folder import load


def decoded(completions, tokenizer, prompts):
    """Objects {"id", "completion", "finished"}, over the fields of the prompts' rows if given.

    A row's own completion is kept as "reference" (unless the row has one): the two are compared.
    Control tokens that the model wrote into its answer stay visible.
    """
    decoder = tokenizer.backend_tokenizer
    for number, completion in enumerate(completions):
        row = prompts[number] if prompts is not None else {}
        kept = {"reference": row["completion"]} if "completion" in row else {}
        yield {
            **kept,
            **row,
            "id": row.get("id", f"{completion.example_id:016x}"),
            "completion": decoder.decode(completion.tokens, skip_special_tokens=False),
            "finished": completion.finished,
        }


def _rejected_lines(prompts, tokenised):
    """Lines of the file `prompts` that were rejected when it was tokenised."""
    path = Path(f"{tokenised}.rejected.jsonl")
    listed = jsonl.read(path) if path.is_file() else []
    _check_list(path, len(listed), tokenised)
    source = Path(prompts).resolve()
    return {row.get("line") for row in listed if Path(str(row.get("file"))).resolve() == source}


def _check_list(path, listed, tokenised):
    attributes = read_attributes(tokenised) or {}
    rejected = sum(json.loads(attributes.get("counts", "{}")).get("rejected", {}).values())
    if "counts" in attributes and rejected != listed:
        raise UserError(
            f"{path}: lists {listed} rows, but {tokenised} was made with {rejected} rejected. "
            f"Tokenise again, or leave out --prompts."
        )


def _prompts(options):
    """The rows whose prompts were completed, in order; None if not asked for."""
    if not options.prompts:
        return None
    rejected = set()
    if tokenised := generated_file.prompts_of(options.generated):
        rejected = _rejected_lines(options.prompts, tokenised)
    rows = jsonl.read_numbered(options.prompts)
    return [row for line, row in rows if line not in rejected][: options.max_examples]


def main(arguments):
    parser = argparse.ArgumentParser(prog="decode", description=__doc__)
    parser.add_argument("--generated", required=True, metavar="FILE.h5")
    parser.add_argument("--tokenizer", required=True, metavar="FOLDER")
    parser.add_argument(
        "--prompts",
        metavar="FILE.jsonl",
        help="the file that was tokenised, joined by the order of its rows",
    )
    parser.add_argument(
        "--max-examples", type=int, metavar="N", help="as for `rondo generate`: the first N rows"
    )
    parser.add_argument("--out", required=True, metavar="FILE.jsonl")
    options = parser.parse_args(arguments)
    completions = generated_file.read(options.generated)
    prompts = _prompts(options)
    if prompts is not None and len(prompts) != len(completions):
        raise UserError(
            f"{options.prompts}: {len(prompts)} rows (without those rejected when it was "
            f"tokenised), but {options.generated} holds {len(completions)} completions. Give the "
            f"file that was tokenised, under the same path, and --max-examples as for `rondo "
            f"generate`."
        )
    jsonl.write(options.out, decoded(completions, load(options.tokenizer), prompts))
    print(f"{options.out}: {len(completions)} completions")
    return 0
