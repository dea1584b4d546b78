"""tools/tokenize: conversations in JSONL -> token ids with loss weights (rondo.tokenized)."""

import argparse
import os

from rondo_tools import bundled_template, formats, sources
from rondo_tools.errors import UserError
from rondo_tools.row_encoder import MULTI_TURN, TRAIN_ON
from rondo_tools.tokenize_job import Job, format_of, run


def share(text):
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def weight(text):
    value = float(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return value


def parse_columns(text):
    columns = {}
    for pair in filter(None, text.split(",")):
        name, _, column = (part.strip() for part in pair.partition("="))
        if not name or not column:
            raise UserError(f"--columns: {pair!r}; expected name=column, such as prompt=question.")
        if name in columns:
            raise UserError(f"--columns: {name} is given twice.")
        columns[name] = column
    return columns


def parser():
    parser = argparse.ArgumentParser(
        prog="tokenize",
        description="Turns conversations (JSONL, a JSON array, also .gz, or Parquet) into token "
        "ids in which only the assistant's tokens, end-of-turn included, carry weight.",
    )
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="files or globs")
    parser.add_argument("--tokenizer", required=True, metavar="FOLDER")
    parser.add_argument("--out", required=True, metavar="FILE.h5")
    parser.add_argument(
        "--template", default="auto", metavar="FILE|chatml",
        help="Jinja chat template; auto (default): the tokenizer's own, else the bundled ChatML; "
        "where that needs tokens that the tokenizer lacks, OUT.tokenizer is a tokenizer with them",
    )  # fmt: skip
    parser.add_argument("--format", default="auto", choices=["auto", *formats.FORMATS])
    parser.add_argument(
        "--columns", default="", help="names in the file: prompt=question,completion=answer"
    )
    parser.add_argument(
        "--train-on", default="all", choices=TRAIN_ON,
        help="train all turns of the assistant, or the last one alone",
    )  # fmt: skip
    parser.add_argument(
        "--multi-turn", default="auto", choices=MULTI_TURN,
        help="whole conversations; split: one example per turn of the assistant; auto (default): "
        "split where the chat template allows no sound mask of the whole",
    )  # fmt: skip
    parser.add_argument(
        "--end-of-turn-weight", type=weight, default=1.0, metavar="W",
        help="loss weight of the end-of-turn token, times that of its turn (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count(), help="processes (default: all cores)"
    )
    parser.add_argument(
        "--max-rejected", type=share, default=0.01,
        help="share of rows that may be unusable (default 0.01)",
    )  # fmt: skip
    parser.add_argument(
        "--rejected", metavar="FILE", help="rejected rows (default: OUT.rejected.jsonl)"
    )
    return parser


def describe(counts):
    rejected = sum(counts["rejected"].values())
    reasons = "; ".join(f"{reason}: {count}" for reason, count in counts["rejected"].items())
    return (
        f"{counts['examples']} examples, {counts['tokens']} tokens, "
        f"{counts['trainable_tokens']} trainable, {rejected} rejected"
        + (f" ({reasons})" if reasons else "")
        + _split(counts.get("split"))
        + _left_out(counts.get("left_out"))
    )


def _split(rows):
    return f"; {rows} rows were cut into one example per answer" if rows else ""


def _left_out(found):
    if not found or not found["rows"]:
        return ""
    return (
        f"; the template left out part of an answer in {found['rows']} rows "
        f"(first: {found['first']})"
    )


def main(arguments):
    options = parser().parse_args(arguments)
    job = Job(
        inputs=sources.expand(options.input),
        tokenizer=options.tokenizer,
        out=options.out,
        template=options.template,
        format=options.format,
        columns=parse_columns(options.columns),
        workers=options.workers,
        max_rejected=options.max_rejected,
        train_on=options.train_on,
        multi_turn=options.multi_turn,
        end_of_turn_weight=options.end_of_turn_weight,
        rejected=options.rejected,
    )
    if job.needs_bundled_template():
        made = f"{options.out}.tokenizer"
        print(bundled_template.make(job.tokenizer, made), flush=True)
        job.tokenizer = made
    format_name = format_of(job)
    print(f"{options.out}: rows are of the format {format_name}", flush=True)
    print(f"{options.out}: {describe(run(job, format_name=format_name))}")
    return 0
