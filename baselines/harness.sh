#!/bin/sh
# How fast load generators are, against the same echo server on the same machine: vitrine bench with every
# request recorded, vegeta with its results written, and wrk, which keeps a histogram only.
#
#   baselines/harness.sh                  three rounds of 5 s, 16 connections
#   ROUNDS=5 SECONDS_EACH=10 CLIENTS=32 baselines/harness.sh
#   RECORD=docs/records/harness.jsonl baselines/harness.sh     keeps every run; baselines/method_tables.py makes the document's table of it
#
# Needs Go, wrk and awk; vegeta is installed into a temporary folder. It prints a Markdown table of the
# medians over rounds, in which the tools take turns.
set -eu

ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-5}
CLIENTS=${CLIENTS:-16}
RECORD=${RECORD:-/dev/null}
PORT=${PORT:-18099}
VEGETA=v12.13.0
ROOT=$(cd "$(dirname "$0")/.." && pwd)
TEMP=$(mktemp -d)
TARGET=http://127.0.0.1:$PORT

command -v wrk >/dev/null || { echo "harness: wrk is not installed" >&2; exit 1; }
(cd "$ROOT" && CGO_ENABLED=0 go build -o "$TEMP/vitrine" ./cmd/vitrine && CGO_ENABLED=0 go build -o "$TEMP/echo" ./baselines/echo)
(cd "$TEMP" && GOBIN="$TEMP" GOFLAGS=-mod=mod go install github.com/tsenart/vegeta/v12@$VEGETA)

"$TEMP/echo" -listen 127.0.0.1:$PORT >/dev/null &
ECHO=$!
trap 'kill $ECHO; rm -rf "$TEMP"' EXIT
trap 'exit 130' INT TERM

# Bodies: a JPEG of 8x8 pixels, a photograph, and the same padded to the size of a float32 tensor of
# 3x224x224. Decoders ignore what follows a JPEG's end; the echo server ignores everything.
mkdir "$TEMP/bodies"
echo /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z | base64 -d >"$TEMP/bodies/1-tiny.jpg"
cp "$ROOT/testdata/photos/coffee.jpg" "$TEMP/bodies/2-photo.jpg"
{ cat "$TEMP/bodies/2-photo.jpg"; head -c 602112 /dev/zero; } | head -c 602112 >"$TEMP/bodies/3-tensor.jpg"

run_vitrine() {
  "$TEMP/vitrine" bench concurrency --target $TARGET --name v --metrics-url off --concurrency $CLIENTS --duration ${SECONDS_EACH}s \
    --input "dir:$1" --quiet --out "$TEMP/$(basename "$1").$2.jsonl.zst" | awk -v s=$SECONDS_EACH '/^concurrency,/ {print $5 / s}'
}

run_vegeta() {
  echo "POST $TARGET/embed" | "$TEMP/vegeta" attack -rate=0 -max-workers=$CLIENTS -workers=$CLIENTS -duration=${SECONDS_EACH}s -body="$1" \
    -header 'Content-Type: image/jpeg' -output="$TEMP/vegeta.bin"
  "$TEMP/vegeta" report "$TEMP/vegeta.bin" | awk -F'[,[:space:]]+' '/^Success/ && $3 != "100.00%" {print "harness: vegeta failed" >"/dev/stderr"} /^Requests/ {print $6}'
}

run_wrk() {
  BODY=$1 CONTENT_TYPE=image/jpeg ACCEPT='*/*' wrk -t2 -c$CLIENTS -d${SECONDS_EACH}s -s "$ROOT/baselines/post.lua" $TARGET/embed |
    awk '/^Requests\/sec:/ {print $2}'
}

{
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  commit=$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || true)
  printf '{"measure":"manifest","time":"%s","commit":"%s","cpu":"%s","cores":%d,"load":[%s],"clients":%d,"seconds":%d,"rounds":%d,"vegeta":"%s","wrk":"%s"}\n' \
    "$(date -u +%Y-%m-%dT%H:%M:%S+00:00)" "$commit" "${cpu:-unknown processor}" "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg | tr ' ' ,)" \
    $CLIENTS $SECONDS_EACH $ROUNDS $VEGETA "$(wrk -v 2>&1 | awk 'NR == 1 {print $2}')"
} >"$TEMP/record"

for body in "$TEMP"/bodies/*; do
  for round in $(seq $ROUNDS); do
    for tool in vitrine vegeta wrk; do
      rate=$(run_$tool "$body" $round)
      [ -n "$rate" ] || { echo "harness: $tool gave no figure" >&2; exit 1; }
      printf '{"measure":"rate","bytes":%d,"tool":"%s","round":%d,"per_second":%s}\n' "$(wc -c <"$body")" $tool $round "$rate" >>"$TEMP/record"
      echo "$(basename "$body" .jpg) $(wc -c <"$body") $tool $rate"
      echo "$(basename "$body" .jpg) round $round $tool: $rate requests/s" >&2
    done
  done
done >"$TEMP/rates"
cat "$TEMP/record" >"$RECORD"

echo "Requests a second, $CLIENTS connections, median of $ROUNDS rounds of ${SECONDS_EACH} s, $(nproc) processors shared with the server:"
echo
echo '| Body | vitrine bench | vegeta | wrk | vitrine / vegeta | vitrine / wrk |'
echo '|---|---:|---:|---:|---:|---:|'
sort -k1,1 -k3,3 -k4,4n "$TEMP/rates" | awk '
  { key = $1 SUBSEP $3; n[key]++; v[key, n[key]] = $4; if (!($1 in size)) order[++bodies] = $1; size[$1] = $2 }
  function median(body, tool,  k, m) {
    k = body SUBSEP tool; m = n[k]
    return m % 2 ? v[k, (m + 1) / 2] : (v[k, m / 2] + v[k, m / 2 + 1]) / 2
  }
  END {
    for (i = 1; i <= bodies; i++) {
      b = order[i]; a = median(b, "vitrine"); c = median(b, "vegeta"); w = median(b, "wrk")
      printf "| %d bytes | %.0f | %.0f | %.0f | %.2f | %.2f |\n", size[b], a, c, w, a / c, a / w
    }
  }'
