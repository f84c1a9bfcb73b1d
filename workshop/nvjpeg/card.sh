#!/bin/sh
# Everything about JPEG decoding on the card that needs a card, in one go: correctness first, then the difference in pixels and
# cosine (the table of docs/cuda.md), stages, rates, and the whole service with each --decode.
#
#   NVJPEG=.../libnvjpeg.so.13 OUT=results workshop/nvjpeg/card.sh
#
# It uses bin/vitrine and bin/cardjpeg.test where they are, else it builds them. For a machine without Go, small:
#
#   CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/vitrine ./cmd/vitrine
#   CGO_ENABLED=0 go test -c -trimpath -ldflags '-s -w' -o bin/cardjpeg.test ./internal/cardjpeg
#
# NVJPEG is from `pip download nvidia-nvjpeg` (a wheel is a zip file); without it the loader's is taken. In a container the
# hardware engines need the driver's capability "video". MODEL, a folder of weights, replaces synthetic ones. PART is one of
# check, speed and service; all without it.
set -eu
cd "$(dirname "$0")/../.."
out=${OUT:-results}
part=${PART:-all}
case ${NVJPEG:-/} in /*) ;; *) NVJPEG=$PWD/$NVJPEG ;; esac # tests run in a folder of their own
case ${MODEL:-/} in /*) ;; *) MODEL=$PWD/$MODEL ;; esac
mkdir -p bin "$out"
[ -x bin/vitrine ] || CGO_ENABLED=0 go build -trimpath -o bin/vitrine ./cmd/vitrine
[ -x bin/cardjpeg.test ] || CGO_ENABLED=0 go test -c -o bin/cardjpeg.test ./internal/cardjpeg
export VITRINE_NVJPEG="${NVJPEG:-}" VITRINE_CARD_MODEL="${MODEL:-}"
tests() { (cd internal/cardjpeg && ../../bin/cardjpeg.test -test.v -test.timeout 9m -test.run "$1"); }
wanted() { [ "$part" = all ] || [ "$part" = "$1" ]; }

if wanted check; then
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$out/machine.txt"
  bin/vitrine doctor | tee -a "$out/machine.txt"
  tests '^TestCard(Kernels|Photos)$' | tee "$out/photos.txt"
fi
if wanted speed; then
  VITRINE_CARD_SPEED=1 tests '^TestCardStages$' | tee "$out/stages.txt"
  VITRINE_CARD_SPEED=1 tests '^TestCardRate$' | tee "$out/rates.txt"
fi

# The whole service, client on the same cores; with the null engine the same without an engine.
service() {
  serve="exec bin/vitrine serve --model synthetic --http 127.0.0.1:18000 --grpc off --metrics 127.0.0.1:18002 --max-batch-size 256 --engine $1 --gpus 0"
  echo "== engine $1, --decode $2, $3"
  bin/vitrine bench concurrency --target http://127.0.0.1:18000 --metrics-url http://127.0.0.1:18002/metrics --format embed-raw \
    --input "$3" --concurrency 32,128,512 --requests 0 --duration 3s --warmup 200 --quiet \
    --start "$serve --decode $2 ${NVJPEG:+--nvjpeg $NVJPEG}" --out "$out/$1-$2-$(echo "$3" | tr -d :).jsonl.zst" || echo "failed"
}
if wanted service; then
  for input in photo:224x224:q85 photo:640x480:q85; do
    for engine in cuda null; do
      for decode in cpu auto nvjpeg; do service $engine $decode $input; done
    done
  done | tee "$out/service.txt"
fi
