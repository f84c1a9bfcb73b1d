"""Fails unless a study's document is complete: complete.py REPORT.json REPORT.html REPORT.md

Every section of the benchmark reference must be there with its tables, and no cell may have failed or timed out. An INVALID
cell is the harness judging itself on a busy machine, and allowed.
"""
import json
import sys

# By the beginnings of their ids: sections, and the parts that each must have with rows.
SECTIONS = {
    "hardware": ["hardware"],
    "step-4": ["overview", "cold-start", "server", "single", "batch-throughput", "batch-latency", "breakdown", "concurrency", "wire"],
    "step-5a": ["serialization", "single", "batch-latency", "breakdown", "concurrency", "wire"],
    "step-6a": ["overview", "single", "batch-throughput", "batch-latency", "breakdown", "links", "wire"],
    "step-6b": ["overview", "concurrency", "scaling"],
    "profile": ["operators", "batch-scaling"],
    "cross-step": ["latency-evolution", "compute-evolution", "best-throughput"],
    "method": ["settings", "subjects", "harness"],
    "raw-data": ["raw-data"],
}


def shown(node):
    """Every value of the document with its status."""
    if isinstance(node, dict):
        if node.get("status"):
            yield node
        for child in node.values():
            yield from shown(child)
    elif isinstance(node, list):
        for child in node:
            yield from shown(child)


def missing(report):
    for name, parts in SECTIONS.items():
        sections = [s for s in report["sections"] if s["id"].startswith(name)]
        if not sections:
            yield f"section {name}"
            continue
        filled = [p["id"].removeprefix(sections[0]["id"] + "-") for p in sections[0].get("parts") or [] if (p.get("table") or {}).get("rows")]
        yield from (f"{name}: {part or 'any table'}" for part in parts if not any(f.startswith(part) for f in filled))


def main():
    report = json.load(open(sys.argv[1]))
    wrong = [f"is missing: {m}" for m in missing(report)]
    wrong += [f"a cell {v['status']}: {v}" for v in shown(report) if v["status"] in ("failed", "timeout")]
    if not sum(len(p.get("charts") or []) for s in report["sections"] for p in s.get("parts") or []):
        wrong.append("has no chart")
    for path in sys.argv[2:]:
        text = open(path).read()
        wrong += [f"{path} lacks the section {s['title']}" for s in report["sections"] if s["title"].split(" (")[0].split(":")[0] not in text]
    for w in wrong:
        print("the document", w, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
