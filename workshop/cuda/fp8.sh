#!/usr/bin/env bash
# Everything that fp8 has to show on a Hopper card, in one run:
#
#   workshop/cuda/fp8.sh build    where Go is: bin/cuda.test and bin/vitrine, which run anywhere
#   workshop/cuda/fp8.sh          on the card: operators against float64, the compliance suite, whole models against
#                                 the processor, speed at every batch size beside fp16, and the commands as a user types them
#   workshop/cuda/fp8.sh tune     on the card: a new tuned.txt with the products around fp8
#
# Each step has a log in $OUT (bin/fp8). A step that fails does not stop the others; the exit status tells.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD out=${OUT:-$PWD/bin/fp8}

if [ "${1:-}" = build ]; then
	set -e
	export CGO_ENABLED=0
	go test -c -ldflags '-s -w' -o bin/cuda.test ./internal/engine/cuda
	go build -ldflags '-s -w' -o bin/vitrine ./cmd/vitrine
	exit
fi

mkdir -p "$out"
failed=0
# step NAME SECONDS COMMAND... runs a command in the engine's folder.
step() {
	local name=$1 limit=$2 began=$SECONDS
	shift 2
	# A test that skipped found no Hopper card.
	if (cd internal/engine/cuda && timeout "$limit" "$@") >"$out/$name.txt" 2>&1 && ! grep -q '^--- SKIP' "$out/$name.txt"; then
		echo "ok    $name ($((SECONDS - began)) s)"
	else
		echo "FAIL  $name ($((SECONDS - began)) s), $out/$name.txt ends:"
		tail -15 "$out/$name.txt"
		failed=1
	fi
}
card=("$root/bin/cuda.test" -test.v -test.count=1)

if [ "${1:-}" = tune ]; then
	VITRINE_CARD_TUNE=$out/tuned.txt VITRINE_CARD_PRECISION=fp8 step tune 550 "${card[@]}" -test.run '^TestCardTune$'
	exit $failed
fi

nvidia-smi --query-gpu=name,driver_version,clocks.sm,power.draw --format=csv >"$out/card.txt" 2>&1
step products 120 "${card[@]}" -test.run '^TestCardFP8Products$'
step compliance 120 "${card[@]}" -test.run '^TestCardFP8Compliance$'
export VITRINE_CARD_SPEED=1
step speed 180 "${card[@]}" -test.run '^TestCardFP8Speed$'
step productspeed 120 "${card[@]}" -test.run '^TestCardFP8ProductSpeed$'
step models 300 "${card[@]}" -test.run '^TestCardFP8AgainstCPU$'
step fp16 180 "${card[@]}" -test.run '^TestCard(Products|Compliance)$' # what shares their source
step calibrate 120 "$root/bin/vitrine" model calibrate synthetic --images "$root/testdata/photos" --output "$out/calibration.json"
step embed 60 "$root/bin/vitrine" embed "$root/testdata/photos" --model synthetic --engine cuda --precision fp8 \
	--calibration "$out/calibration.json" --log-level info --output "$out/photos.npy" --overwrite
grep -h "fp16\|calibrated\|all\|device rows" "$out/speed.txt"
exit $failed
