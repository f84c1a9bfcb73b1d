#!/bin/sh
# Makes the committed results of a study's record: the record itself, its document as Markdown and HTML, the chart of throughput
# against concurrency, and the headline table between the README's markers.
#
#   docs/results/collect.sh results/reference-cpu.jsonl.zst       # make results
#
# Needs bin/vitrine (make build) and Python 3. Nothing is measured and nothing is typed: everything comes from the record. A record
# beyond 4 MB is refused, since the repository keeps it for ever.
set -eu
record=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/docs/results
python=${PYTHON:-python3}
[ "$(wc -c <"$record")" -le 4000000 ] || { echo "collect: $record is larger than 4 MB" >&2; exit 1; }
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cp "$record" "$here/reference.jsonl.zst"
cd "$root" # so that the document names the record by its path in the repository
for format in md html json; do
  out=$here/reference.$format
  [ $format = json ] && out=$temp/reference.json
  ./bin/vitrine report docs/results/reference.jsonl.zst --reference studies/reference-2026-02.jsonl --format $format --charts "$temp/charts" --out "$out"
done
for chart in "$temp"/charts/concurrency-6b-*.svg; do
  cp "$chart" "$here/concurrency.svg"
  break # one machine, one chart
done
"$python" docs/results/headline.py "$temp/reference.json" README.md
ls -l "$here"
