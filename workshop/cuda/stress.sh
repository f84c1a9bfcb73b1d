#!/bin/sh
# Looks for faults of the CUDA engine on a machine with one card or more, in under ten minutes:
#
#   workshop/cuda/stress.sh build DIR      where Go, and pip, are: what the card's machine needs, into DIR (25 MB)
#   workshop/cuda/stress.sh run DIR OUT    on the card's machine: logs into OUT, the verdicts on standard output
#
# run makes, in this order: the card tests; three minutes of batches of mixed sizes from 32 clients in one process on
# one card, and beside it, on the second card if there is one, compute-sanitizer (memcheck, synccheck, racecheck) on
# the card tests; three minutes of the same on all cards; the load under which error 719 was seen, `vitrine serve
# --gpus 0,1`, uint8 tensors, 32 clients; CUDA shared memory by tritonclient. SECONDS_STRESS shortens the three minutes.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)

build() {
	mkdir -p "$1" && dir=$(cd "$1" && pwd) && cd "$here" || exit
	export CGO_ENABLED=0 GOOS=linux GOARCH=amd64
	go build -trimpath -ldflags='-s -w' -o "$dir/vitrine" ./cmd/vitrine &&
		go test -c -trimpath -ldflags='-s -w' -o "$dir/cuda.test" ./internal/engine/cuda &&
		cp internal/front/oipgrpc/testdata/cuda_client.py "$dir/" && gzip -f -n "$dir/vitrine" "$dir/cuda.test" || exit
	# Wheels for the Python of the card's machine, which is to have numpy and cuda-python.
	python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 \
		--platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$dir/wheels" \
		tritonclient==2.73.0 grpcio==1.81.1 'protobuf<7' python-rapidjson urllib3 packaging ml-dtypes ||
		echo 'no wheels: CUDA shared memory will only be tried if the other machine has tritonclient' >&2
	ls -l "$dir"
}

# verdict NAME STATUS LOG: one line, and the end of the log of what failed. Status 124 is a time limit.
verdict() {
	if [ "$2" -eq 0 ]; then echo "ok    $1"; return; fi
	echo "FAIL  $1 (exit $2)"
	failed=1
	tail -n 25 "$3" | sed 's/^/      /'
}

# sanitize TOOL SECONDS TESTS: a finding fails, running out of time does not.
sanitize() {
	timeout "$2" compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 "$work/cuda.test" -test.run "$3" -test.v >"$out/$1.log" 2>&1
	status=$?
	if [ "$status" -eq 124 ] && ! grep -q '^========= .*[Ee]rror\|hazard' "$out/$1.log"; then
		echo "ok    $1: nothing found in $2 s, of: $(grep -c '^ *--- PASS' "$out/$1.log") tests ended"
		return
	fi
	verdict "$1" "$status" "$out/$1.log"
	grep 'SUMMARY' "$out/$1.log" | sed 's/^/      /'
}

sanitizers() {
	if ! command -v compute-sanitizer >/dev/null; then
		echo 'skip  compute-sanitizer is not here'
		return
	fi
	export VITRINE_CARD_PRECISION=fp16
	sanitize memcheck 60 'TestCardProducts|TestCardAddInPlace|TestCardAttention|TestCardNorm|TestCardCompliance/fp16'
	sanitize synccheck 60 'TestCardProducts|TestCardAttention|TestCardNorm|TestCardCompliance/fp16'
	sanitize racecheck 60 'TestCardProducts|TestCardAttention|TestCardNorm'
}

# tests LOG SECONDS TESTS: what skips for want of a card fails, as it tells nothing.
tests() {
	timeout "$2" "$work/cuda.test" -test.run "$3" -test.v >"$1" 2>&1
	status=$?
	if grep -q 'no NVIDIA GPU can be used' "$1"; then status=77; fi
}

stress() { # stress LOG: on the cards that are visible
	export VITRINE_CARD_STRESS="${SECONDS_STRESS:-180}s"
	tests "$1" $((${SECONDS_STRESS:-180} + 60)) '^TestCardStress$'
	verdict "batches of mixed sizes: $(grep -o '[0-9]* cards, .*' "$1" | tail -n 1)" "$status" "$1"
}

shared() {
	if [ -d "$dir/wheels" ]; then
		python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$work/site" "$dir"/wheels/*.whl >"$out/pip.log" 2>&1
		export PYTHONPATH="$work/site"
	fi
	if ! python3 -c 'import tritonclient.grpc, tritonclient.utils.cuda_shared_memory' >"$out/shared.log" 2>&1; then
		echo "skip  CUDA shared memory: $(tail -n 1 "$out/shared.log")"
		return
	fi
	"$work/vitrine" serve --engine cuda --gpus 0 --model synthetic --http 127.0.0.1:18470 --grpc 127.0.0.1:18471 --metrics off \
		--max-batch-size 16 >"$out/serve.log" 2>&1 &
	server=$!
	for _ in $(seq 100); do
		curl -sf http://127.0.0.1:18470/readyz >/dev/null && break
		sleep 0.2
	done
	timeout 120 python3 "$dir/cuda_client.py" 127.0.0.1:18471 127.0.0.1:18470 >"$out/shared.log" 2>&1
	verdict 'CUDA shared memory, tritonclient' $? "$out/shared.log"
	kill "$server"
	wait "$server"
	verdict 'the server of CUDA shared memory ends well' $? "$out/serve.log"
}

load() { # the load that failed once
	PATH="$work:$PATH" timeout 100 vitrine bench scaling --start 'exec vitrine serve --engine cuda --gpus $(seq -s, 0 $(({instances}-1))) --model synthetic --max-batch-size 128 --access-log=false --log-level warn' \
		--format oip-binary-u8 --instances "$cards" --concurrency 32 --duration 20s --rounds 2 --out "$work/load.jsonl.zst" >"$out/load.log" 2>&1
	verdict "vitrine serve on $cards cards, uint8 tensors, 32 clients" $? "$out/load.log"
}

run() {
	dir=$(cd "$1" && pwd) && mkdir -p "$2" && out=$(cd "$2" && pwd) || exit
	work=$(mktemp -d) && failed=0 && cards=$(nvidia-smi -L | grep -c '^GPU') || { echo 'no card here'; exit 1; }
	nvidia-smi --query-gpu=name,driver_version,ecc.errors.uncorrected.volatile.total --format=csv,noheader
	for f in vitrine cuda.test; do gzip -dc "$dir/$f.gz" >"$work/$f" && chmod +x "$work/$f"; done
	tests "$out/card.log" 100 'TestCardProducts|TestCardAddInPlace|TestCardAttention|TestCardNorm|TestCardCompliance'
	verdict 'card tests' "$status" "$out/card.log"
	if [ "$cards" -gt 1 ]; then
		(export CUDA_VISIBLE_DEVICES=1; sanitizers; exit "$failed") & beside=$!
		(export CUDA_VISIBLE_DEVICES=0; stress "$out/stress-1.log"; exit "$failed") || failed=1
		wait "$beside" || failed=1
		stress "$out/stress-$cards.log"
	else
		stress "$out/stress-1.log"
		sanitizers
	fi
	load
	shared
	nvidia-smi --query-gpu=ecc.errors.uncorrected.volatile.total,clocks_event_reasons.active --format=csv,noheader
	dmesg 2>/dev/null | grep -i xid
	cp "$work"/load-logs/*.log "$out/" 2>/dev/null
	(cd "$out" && tar czf logs.tgz ./*.log && rm ./*.log)
	rm -rf "$work"
	exit "$failed"
}

case "${1:-}" in
build | run) "$@" ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
