#!/usr/bin/env python3
"""Writes the tables of docs/method.md, between its markers, from the records of agree.py and harness.sh.

    baselines/method_tables.py [--agree docs/records/agree.jsonl] [--harness docs/records/harness.jsonl] [--document docs/method.md] [--check]

--check changes nothing and fails if the document is not what the records give. A record that is not there leaves its tables as they are.
"""
import argparse
import json
import math
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(os.path.dirname(HERE), "docs")
# Student's t, 97.5 %, by degrees of freedom from 1.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


def ratio(values):
    """The geometric mean of ratios with its 95 % interval by Student's t on logarithms, a ratio a round."""
    logs = [math.log(v) for v in values]
    mean, n = statistics.mean(logs), len(logs)
    if n < 2:
        return f"{math.exp(mean):.3f}"
    half = T[min(n - 1, len(T)) - 1] * statistics.stdev(logs) / math.sqrt(n)
    return f"{math.exp(mean):.3f} ({math.exp(mean - half):.3f}–{math.exp(mean + half):.3f})"


def table(head, rows):
    align = ["---"] + ["---:" if all(c in "0123456789.,()–- " for r in rows for c in r[i]) else "---" for i in range(1, len(head))]
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, align, *rows])


def machine(m):
    return f"{m['cpu']}, {m['cores']} processors shared by client and server, load average {m['load'][0]:.1f} at the start; commit {m['commit']}, {m['time']}."


def agreement(records):
    m, runs = records[0], [r for r in records if r["measure"] == "agreement"]
    rows = []
    for server, protocol in dict.fromkeys((r["server"], r["protocol"]) for r in runs):
        here = [r for r in runs if (r["server"], r["protocol"]) == (server, protocol)]
        own = {r["round"]: r for r in here if r["tool"] == "vitrine bench"}
        for tool in dict.fromkeys(("vitrine bench", *(r["tool"] for r in here))):
            theirs = [r for r in here if r["tool"] == tool]
            median = lambda key: statistics.median(r[key] for r in theirs)
            compared = ["1", "1"] if tool == "vitrine bench" else [ratio([r[k] / own[r["round"]][k] for r in theirs]) for k in ("per_second", "p50_ms")]
            rows.append([server, protocol, tool, f"{median('per_second'):.2f}", f"{median('p50_ms'):.2f}", *compared])
    return "\n".join([f"{m['clients']} clients in a closed loop, {m['rounds']} rounds of {m['seconds']:g} s, tools in turn; medians over rounds, ratios to `vitrine bench` of the same round.", machine(m), "",
                      table(["server", "protocol", "tool", "requests/s", "p50 ms", "throughput ratio (95 %)", "p50 ratio (95 %)"], rows)])


def stall(records):
    rows = []
    for r in (r for r in records if r["measure"] == "stall"):
        sent = r["from_sending"]
        rows.append([f"{r['loop']} loop", str(r["requests"]), *(f"{r[k]:.2f}" for k in ("p50_ms", "p99_ms", "max_ms")),
                     f"{sent['p99_ms']:.2f}", str(r["over_half_a_second"]), r["status"]])
    return table(["", "requests", "p50 ms", "p99 ms", "max ms", "p99 ms from sending", "500 ms or more", "status"], rows)


def harness(records):
    m, runs = records[0], records[1:]
    rows = []
    for size in dict.fromkeys(r["bytes"] for r in runs):
        by = {t: {r["round"]: r["per_second"] for r in runs if r["bytes"] == size and r["tool"] == t} for t in ("vitrine", "vegeta", "wrk")}
        rows.append([f"{size:,} bytes", *(f"{statistics.median(by[t].values()):,.0f}" for t in by),
                     *(ratio([v / by[t][n] for n, v in by["vitrine"].items()]) for t in ("vegeta", "wrk"))])
    return "\n".join([f"{m['clients']} connections, {m['rounds']} rounds of {m['seconds']} s, tools in turn; medians over rounds.", machine(m), "",
                      table(["body", "vitrine bench, requests/s", "vegeta", "wrk", "vitrine / vegeta (95 %)", "vitrine / wrk (95 %)"], rows)])


def insert(document, name, text):
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = document.split(begin, 1)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}"


def load(path):
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--agree", default=os.path.join(DOCS, "records", "agree.jsonl"))
    p.add_argument("--harness", default=os.path.join(DOCS, "records", "harness.jsonl"))
    p.add_argument("--document", default=os.path.join(DOCS, "method.md"))
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    before = document = open(a.document).read()
    if records := load(a.agree):
        document = insert(document, "agreement", agreement(records))
        document = insert(document, "stall", stall(records))
    if records := load(a.harness):
        document = insert(document, "harness", harness(records))
    if a.check:
        sys.exit("docs/method.md is not what the records give: baselines/method_tables.py writes it" if document != before else 0)
    with open(a.document, "w") as out:
        out.write(document)


if __name__ == "__main__":
    main()
