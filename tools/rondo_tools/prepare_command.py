"""tools/prepare: tokenises the sources of a run that are missing or stale, before MPI starts."""

import argparse
import os

from rondo_tools import bundled_template, run_config
from rondo_tools.evaluation_set import prepare
from rondo_tools.run_sources import (
    cache_folder,
    evaluation_sets,
    needs,
    use_bundled_template,
)
from rondo_tools.say import say
from rondo_tools.tokenize_command import describe, positive
from rondo_tools.tokenize_job import counts_of, format_of, is_fresh, run


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="prepare",
        description="Tokenises every source of a run's configuration that is text and whose "
        "tokenised file in <run.dir>/cache/<run.name>/ is missing or stale (other source "
        "contents, tokenizer, template or settings).",
    )
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count(), help="processes (default: all cores)"
    )
    options = parser.parse_args(arguments)
    config = run_config.load(options.config, options.overrides)
    # All are looked at before the first is tokenised, so that a wrong one leaves nothing behind.
    plan = []
    found = needs(config, options.config, options.workers)
    made = cache_folder(config, options.config) / "tokenizer"
    if said := use_bundled_template(found, made):
        say(said)
    for need in found:
        identity = need.job.identity()
        fresh = is_fresh(need.job, identity)
        plan.append((need, identity, None if fresh else format_of(need.job)))
    if found and not said:
        bundled_template.retire(made, [need.job.tokenizer for need in found])
    for words in evaluation_sets(config, options.config):
        if words.is_fresh():
            say(f"{words.name}.evaluation: fresh")
        else:
            say(f"{words.name}.evaluation: words of {prepare(words)} questions")
    for need, identity, format_name in plan:
        if format_name is None:
            say(f"{need.label}: fresh, {describe(counts_of(need.job.out))}")
        else:
            say(f"{need.label}: rows are of the format {format_name}")
            counts = run(need.job, identity, format_name)
            say(f"{need.label}: tokenised, {describe(counts)}")
    return 0
