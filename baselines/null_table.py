#!/usr/bin/env python3
"""Writes the table of compare_null.py's record into docs/performance.md, between its markers.

    baselines/null_table.py docs/records/null-vs-triton.jsonl [--document docs/performance.md | --print]

Ratios are medians over rounds of Vitrine's by Triton's in the same round, with a 95 % bootstrap interval.
"""
import argparse
import json
import os
import random
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BEGIN, END = "<!-- null-vs-triton: begin -->", "<!-- null-vs-triton: end -->"


def interval(values, draws=5000):
    """Percentile bootstrap of the median; seeded, so that the same record gives the same document."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def number(x):
    """Three significant digits without an exponent."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}" if x >= 0.1 else f"{x:.3f}"


def ratio(pairs, key):
    values = [v[key] / t[key] for v, t in pairs if t[key]]
    if not values:
        return "-"
    low, high = interval(values)
    return f"{number(statistics.median(values))} ({number(low)}-{number(high)})"


def rows(runs):
    cells = {}
    for r in runs:
        cells.setdefault((r["shape"], r["clients"]), {}).setdefault(r["round"], {})[r["server"]] = r
    for (shape, clients), rounds in cells.items():
        pairs = [(r["Vitrine"], r["Triton"]) for r in rounds.values() if len(r) == 2]
        if not pairs:
            continue
        for i, server in enumerate(("Vitrine", "Triton")):
            of = lambda key: number(statistics.median(p[i][key] for p in pairs))
            compared = [ratio(pairs, k) for k in ("per_second", "p50_ms", "p99_ms", "cpu_ms_per_request")] if i == 0 else [""] * 4
            yield [shape, str(clients), server, of("per_second"), of("p50_ms"), of("p99_ms"), of("cpu_ms_per_request"),
                   of("sent_bytes"), of("received_bytes"), *compared]


def cores(m):
    named = [f"{who} on cores {m[k]}" for who, k in (("servers", "server_cores"), ("client", "client_cores")) if m[k]]
    return ", ".join(named) or "client and server on all of them"


def section(manifest, runs):
    head = ["request", "clients", "server", "requests/s", "p50 ms", "p99 ms", "CPU ms/request", "bytes sent", "bytes back",
            "throughput ratio", "p50 ratio", "p99 ratio", "CPU ratio"]
    lines = [BEGIN, "## Vitrine's null engine against Triton", "",
             "What each server costs when the model costs nothing: `vitrine serve --engine null` against the real Triton 2.51.0 with a Python",
             "backend that returns zeros (the only backend that its PyPI wheel has; its processes count as Triton's). No queue delay on either, a",
             "largest batch of 32, the same client; every cell measured on one server and then the other in the same round. Of a raw",
             "JPEG Triton's backend reads nothing, while Vitrine decodes it; \"decoded by both\" has that backend decode and normalise it with Pillow",
             "and NumPy. Vitrine's null vectors are not zeros, so its JSON answers are longer. HTTP by wrk, gRPC by `baselines/grpcload`, both",
             "closed loops; JSON at 32 and more clients runs three times as long. Processor time is the server's whole process tree. Ratios are Vitrine's by Triton's, medians over rounds with a 95 %",
             "bootstrap interval: throughput above 1 and all others below 1 are better for Vitrine.", "",
             f"{manifest['cpu']}, {manifest['cores']} cores, {cores(manifest)}; load average {manifest['load'][0]:.1f} at the start; "
             f"{manifest['rounds']} rounds of {manifest['seconds']} s a run; commit {manifest['commit']}, {manifest['time']}.", "",
             "```", "baselines/compare_null.py --record docs/records/null-vs-triton.jsonl",
             "baselines/null_table.py docs/records/null-vs-triton.jsonl", "```", "",
             "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(r) + " |" for r in rows(runs)]
    return "\n".join([*lines, END]) + "\n"


def insert(document, text):
    """In the markers' place, or before the last section where there are none yet."""
    if BEGIN in document:
        before, rest = document.split(BEGIN, 1)
        return before + text.rstrip("\n") + rest.split(END, 1)[1]
    at = document.rindex("\n## ") + 1
    return document[:at] + text + "\n" + document[at:]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("record")
    p.add_argument("--document", default=os.path.join(HERE, "..", "docs", "performance.md"))
    p.add_argument("--print", action="store_true", help="to standard output, and change no document")
    a = p.parse_args()
    manifest, *runs = map(json.loads, open(a.record))
    text = section(manifest, runs)
    if a.print:
        sys.stdout.write(text)
        return
    document = open(a.document).read()
    with open(a.document, "w") as out:
        out.write(insert(document, text))


if __name__ == "__main__":
    main()
