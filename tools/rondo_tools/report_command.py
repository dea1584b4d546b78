"""tools/report: what a run trained on and what came of it, as one HTML page without other files."""

import argparse
import json
from html import escape
from pathlib import Path

from rondo_tools import svg
from rondo_tools.errors import UserError
from rondo_tools.metrics_tail import MetricsTail

_STYLE = """
body { font: 14px/1.45 sans-serif; margin: 2em auto; max-width: 1000px; color: #222 }
table { border-collapse: collapse; margin: 0.6em 0 }
td, th { border: 1px solid #ccc; padding: 2px 8px; text-align: right }
td:first-child, th:first-child { text-align: left }
figure { display: inline-block; margin: 0.4em 0.8em 0.4em 0 }
figcaption { font-size: 12px; color: #555 }
svg { font: 10px sans-serif }
q { color: #555 }
"""
_POINTS = 800  # of a curve
_PAIRS = 50  # of a kind that are quoted
_COLUMNS = ("documents", "examples", "repeats", "tokens", "trained_tokens")
_HIDDEN = ("name", "figures", "weight", *_COLUMNS)


def _read(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}).") from error


def _table(head, rows):
    def cells(row, tag):
        return "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"


def _figure(plot, caption):
    return f"<figure>{plot}<figcaption>{escape(caption)}</figcaption></figure>"


def _shares(counts):
    whole = sum(counts.values()) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count / whole:.2%}" for name, count in ordered)


def _histogram(counts, x_title, caption):
    """`counts`: {number as text: documents}, as plan.json holds them."""
    values = sorted((int(key), count) for key, count in counts.items())
    return _figure(svg.bars(values, x_title), caption) if values else ""


def _sources(account):
    sources = account["sources"]
    more = [
        key
        for key in sources[0]
        if key not in _HIDDEN and any(isinstance(s.get(key), int) and s[key] for s in sources)
    ]
    whole = account["tokens"] or 1
    rows = [
        [s["name"], *(s[c] for c in _COLUMNS), f"{s['tokens'] / whole:.2%}", *(s[k] for k in more)]
        for s in sources
    ]
    head = ["source", *(c.replace("_", " ") for c in _COLUMNS), "share of tokens"]
    return _table([*head, *(key.replace("_", " ") for key in more)], rows)


def _source_figures(source):
    figures = source.get("figures")
    if not figures:
        return ""
    parts = [f"<h4>{escape(source['name'])}</h4>"]
    parts.append(_histogram(figures["lengths"], "tokens of a document, at least", "lengths"))
    parts.append(_histogram(figures["turns"], "turns of user and assistant", "turns"))
    beyond = {name: n for name, n in figures["scripts"].items() if name != "ASCII"}
    parts.append(f"<p>Letters and signs: {escape(_shares(figures['scripts']))}.")
    if beyond:
        parts.append(f" Of those beyond ASCII: {escape(_shares(beyond))}.")
    parts.append("</p>")
    if figures["tags"]:
        rows = sorted(figures["tags"].items(), key=lambda item: (-item[1], item[0]))
        parts.append(_table(["tag", "documents"], rows))
    return "".join(parts)


def _packed(folder, title):
    plan = _read(folder / "plan.json")
    account = plan["account"]
    parts = [
        f"<h3>{escape(title)}</h3><p>{account['documents']} documents in {account['packs']} packs "
        f"of {account['seq_len']} tokens, {account['fill']:.3%} filled; plan "
        f"<code>{escape(plan['plan_hash'])}</code></p>",
        _sources(account),
    ]
    parts += [_source_figures(source) for source in account["sources"]]
    return "".join(parts)


def _curve(run):
    _, entries = MetricsTail(run / "metrics.jsonl").poll()
    losses = [
        (number, entry["loss"])
        for number, entry in enumerate((e for e in entries if "loss" in e and "step" in e), 1)
        if isinstance(entry["loss"], float)
    ]
    if not losses:
        return ""
    every = -(-len(losses) // _POINTS)
    return _figure(svg.line(losses[::every], "step"), f"loss of each {every}. step")


def _ledger(run):
    """Rounds that ended: {name: line}, and the matrix of held-out losses."""
    path = run / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    names = list(dict.fromkeys(h["source"] for line in lines for h in line.get("heldout") or []))
    rows = []
    for line in lines:
        loss = {h["source"]: f"{h['loss']:.4f}" for h in line.get("heldout") or []}
        rows.append([line.get("round", "?"), *(loss.get(name, "") for name in names)])
    return _table(["held-out loss after", *names], rows) if names else ""


def _page(title, body):
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>\n"
    )


def page_of(folder):
    """HTML of a run folder or a packed set."""
    folder = Path(folder)
    if (folder / "plan.json").is_file():
        return _page(f"packed set {folder}", _packed(folder, "Data"))
    sets = sorted(folder.glob("rounds/*/packed"), key=lambda path: path.stat().st_mtime)
    heldout = sorted(folder.glob("heldout*/*"))
    if not sets and not heldout:
        raise UserError(f"{folder}: is neither a run folder with packed data nor a packed set.")
    body = [_curve(folder), _ledger(folder)]
    body += [_packed(path, f"Data of round {path.parent.name}") for path in sets]
    body += [_packed(path, f"Held out: {path.name}") for path in heldout]
    return _page(f"run {folder.name}", "".join(body))


def main(arguments):
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="run folder or packed set")
    parser.add_argument("--out", metavar="FILE.html", help="default: FOLDER/report.html")
    options = parser.parse_args(arguments)
    out = Path(options.out or Path(options.folder) / "report.html")
    text = page_of(options.folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(out)
    return 0
