"""tools/bench_tokenize: speed of tools/tokenize beside `encode_batch` of the same texts."""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

from rondo_tools import bundled_template, sources
from rondo_tools.row_encoder import RowEncoder
from rondo_tools.tokenize_command import parse_columns, positive
from rondo_tools.tokenize_job import Job, format_of, run

_TEXTS_PER_BATCH = 1000


def parser():
    parser = argparse.ArgumentParser(
        prog="bench_tokenize",
        description="Tokenises the input again and again: with all that tools/tokenize does (rows "
        "read, checked and rendered, masks, words, the file written), and by the `encode_batch` of "
        "`tokenizers` alone, of the rendered texts in memory, by as many threads as there are "
        "workers. Prints both speeds and their ratio as JSON.",
    )
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--tokenizer", required=True, metavar="FOLDER")
    parser.add_argument("--columns", default="", help="as of tools/tokenize")
    parser.add_argument("--workers", type=positive, default=os.cpu_count())
    parser.add_argument("--passes", type=positive, default=4, help="over the input, at a time")
    parser.add_argument("--repeats", type=positive, default=5, help="of the measurement")
    return parser


def _encode_alone(encoder, texts, passes, workers, result):
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.environ["RAYON_NUM_THREADS"] = str(workers)
    encoder.encode_batch(texts[:10], add_special_tokens=False)  # starts the threads
    begin, tokens = time.perf_counter(), 0
    for _ in range(passes):
        for at in range(0, len(texts), _TEXTS_PER_BATCH):
            batch = texts[at : at + _TEXTS_PER_BATCH]
            tokens += sum(map(len, encoder.encode_batch(batch, add_special_tokens=False)))
    result.put(tokens / (time.perf_counter() - begin))


def _alone(*what):
    """Tokens per second, in a process of its own: threads do not survive the fork of workers."""
    context = multiprocessing.get_context("fork")
    result = context.SimpleQueue()
    process = context.Process(target=_encode_alone, args=(*what, result))
    process.start()
    process.join()
    return result.get()


def _whole(job, encoder):
    begin = time.perf_counter()
    counts = run(job, encoder=encoder, say=lambda _: None)
    return counts["tokens"] / (time.perf_counter() - begin)


def main(arguments):
    options = parser().parse_args(arguments)
    inputs = sources.expand(options.input)
    columns = parse_columns(options.columns)
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.h5")
        job = Job(
            inputs * options.passes, options.tokenizer, out, columns=columns,
            workers=options.workers, max_rejected=1.0,
        )  # fmt: skip
        if job.needs_bundled_template():
            bundled_template.make(job.tokenizer, f"{out}.tokenizer")
            job.tokenizer = f"{out}.tokenizer"
        encoder = RowEncoder(job.tokenizer, job.template_text(), job.rules(format_of(job)))
        texts = encoder.texts([row for _, _, row in sources.all_rows(inputs)])
        alone, whole = [], []
        for _ in range(options.repeats):
            alone.append(_alone(encoder.tokenizer, texts, options.passes, options.workers))
            whole.append(_whole(job, encoder))
    ratios = [w / a for w, a in zip(whole, alone, strict=True)]
    print(
        json.dumps(
            {
                "workers": options.workers,
                "rows": len(texts),
                "encode_batch_tokens_per_s": round(statistics.median(alone)),
                "tokenize_tokens_per_s": round(statistics.median(whole)),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            },
            indent=2,
        )
    )
    return 0
