#!/bin/bash
# On the machine with the card. What has come lies in FROM (.dev/trt of the working tree), what is kept in STORE, results in OUT.
#
#   device.sh tests                       the card's tests of profile and larger models, and `vitrine profile`; needs tools.tar.xz only
#   device.sh keep                        puts away the parts that have come, in as many calls as they take
#   device.sh run [flags of beside.py]    puts TensorRT together and measures it beside Vitrine
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
from=${FROM:-.dev/trt}
store=${STORE:-$HOME/.cache/vitrine/tensorrt}
out=${OUT:-$store/out}
mkdir -p "$store" "$out"
out=$(cd "$out" && pwd)

keep() {
	compgen -G "$from/*" >/dev/null || return 0
	cp "$from"/* "$store"/
	echo "kept: $(ls "$store" | grep -c '^part-') parts of $(grep -c 'part-' "$store/sums" 2>/dev/null || echo '?')"
}

assemble() {
	cd "$store"
	sha256sum --check --quiet sums
	if [ ! -e lib/complete ]; then
		rm -rf lib site
		mkdir lib
		python3 -m zipfile -e zstandard.whl site
		cat part-* | PYTHONPATH=site python3 -c '
import sys, zstandard
zstandard.ZstdDecompressor(max_window_size=1 << 27).copy_stream(sys.stdin.buffer, sys.stdout.buffer)' | tar -x -C lib
		touch lib/complete
	fi
	tar -xJf tools.tar.xz
}

tests() {
	tar -xJf tools.tar.xz
	./cuda.test -test.v -test.timeout 8m -test.run '^TestCard(Attention|Products|AgainstCPU|Towers|Profile)$' >"$out/card-tests.txt" 2>&1 || echo "a test failed: card-tests.txt"
	grep -E '^(---|    ---|ok|FAIL|PASS)|us  ' "$out/card-tests.txt" | grep -v '^    --- PASS' || true
	for batch in 1 32 512; do
		./vitrine profile --engine cuda --model synthetic --max-batch-size 512 --batch 1,8,32,128,512 --operators-batch "$batch" --record "$out/profile-b$batch.jsonl.zst"
	done
	./vitrine profile --engine cuda --model synthetic --max-batch-size 512 --runs 3 --format chrome-trace --out "$out/trace-b1.json"
}

case ${1:?usage: device.sh tests, keep, or run [flags of beside.py]} in
tests)
	keep
	(cd "$store" && tests)
	;;
keep) keep ;;
run)
	shift
	keep
	(assemble)
	cd "$store"
	REVISION=$(cat revision) LD_LIBRARY_PATH=$store/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONPATH=$store/lib${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 \
		python3 "$here/beside.py" --vitrine "$store/vitrine" --worker "$store/cuda.test" --folder "$store/engines" "$@"
	;;
*) echo "device.sh tests, keep, or run [flags of beside.py]" >&2 && exit 2 ;;
esac
