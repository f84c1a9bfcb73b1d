"""Writes a study's headline between the README's markers: headline.py REPORT.json README.md

Rows are those of the overviews of steps 6A and 6B, as the report has them: bold is the report's own, and so are the intervals.
"""
import json
import sys

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
ROWS = {"step-6a": ("Single p50", "Single p99", "Batch-8", "Batch-32"), "step-6b": ("Concurrent req/s",)}
NAMES = {"Single p50": "one image, p50", "Single p99": "one image, p99", "Batch-8": "8 images in one request", "Batch-32": "32 images in one request",
         "Concurrent req/s": "most images a second, any number of clients"}


def overviews(report):
    for step, wanted in ROWS.items():
        for section in report["sections"]:
            if section["id"].startswith(step):
                part = next(p for p in section["parts"] if p["id"].endswith("-overview"))
                titles = [c["title"] for c in part["table"]["columns"]]
                for row in part["table"]["rows"]:
                    if row[0]["text"] in wanted:
                        yield row[0]["text"], dict(zip(titles[1:], row[1:]))
                break


def shown(value):
    """As the report's Markdown has it: the interval beside the figure, bold where it is clearly the best."""
    text = value["text"]
    figure = value.get("figure") or {}
    if "low" in figure and "high" in figure:
        text += f" ({short(max(figure['low'], 0))}–{short(figure['high'])})"  # no figure here can be negative
    return f"**{text}**" if value.get("best") else text


def short(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def main():
    report, path = json.load(open(sys.argv[1])), sys.argv[2]
    rows = list(overviews(report))
    if not rows:
        sys.exit("headline: the report has no overview of steps 6A and 6B")
    subjects = [t for t in rows[0][1] if t not in ("Winner", "Record to beat")]
    lines = ["| | " + " | ".join(subjects) + " |", "|---" + "|--:" * len(subjects) + "|"]
    lines += ["| " + " | ".join([NAMES[name], *(shown(cells[s]) if s in cells else "—" for s in subjects)]) + " |" for name, cells in rows]
    before, rest = open(path).read().split(BEGIN, 1)
    with open(path, "w") as out:
        out.write(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
