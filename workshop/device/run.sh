#!/bin/sh
# Runs a stage of README.md on the machine with the card, from the root of the tree: cuda, trt, direct, direct-trt or study.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
home=${DEVICE_HOME:-/tmp/vitrine-device}
out=${OUT:-$home/out}
bin=$home/bin
mkdir -p "$out"
python=${PYTHON:-python3}

# CUDA and cuDNN are those that PyTorch brings, TensorRT that of the bundle trt, or what baselines/tensorrt has brought.
packages=$("$python" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))')
nvidia=$(find "$packages/nvidia" -maxdepth 2 -name lib -type d | paste -sd: -)
tensorrt=$home/trt
[ -d "$tensorrt" ] || tensorrt=$HOME/.cache/vitrine/tensorrt/lib
export LD_LIBRARY_PATH="$tensorrt:$nvidia:${LD_LIBRARY_PATH:-}"
export PYTHONPATH="$home/site" PYTHONUNBUFFERED=1 CUDA_MODULE_LOADING=LAZY
library=$(find "$home/site/onnxruntime/capi" -name 'libonnxruntime.so.*' | sort | tail -1)
export VITRINE_ONNXRUNTIME_LIBRARY="$library" VITRINE_ORTWORKER="$bin/ortworker" VITRINE="$bin/vitrine"
REVISION=$(cat "$home/REVISION")
export REVISION

# program NAME FOLDER ARGUMENTS: a test program, in its package's folder, with its log kept. Failures are counted, not final.
failed=0
program() {
  name=$1 folder=$2 log=$3
  shift 3
  echo "== $log"
  (cd "$root/$folder" && "$bin/$name.test" -test.v -test.timeout 9m "$@") >"$out/$log.log" 2>&1 || failed=$((failed + 1))
  grep -E '^ *--- (PASS|FAIL|SKIP)' "$out/$log.log" | sed 's/ (.*//' | sort | uniq -c | sort -rn | head -60
  grep -E '^(PASS|FAIL|ok|panic)' "$out/$log.log" | tail -1
}

direct() {
  (cd "$root/baselines" && "$python" direct_ort.py --model "$(weights)" --cache "$home/cache" --record "$out/direct-ort.jsonl" "$@") >"$out/direct.part" 2>>"$out/direct.log" || failed=$((failed + 1))
  tee -a "$out/direct.md" <"$out/direct.part"
  rm "$out/direct.part"
}

# weights is a folder of them, so that what is built for one program serves the others.
weights() {
  [ -d "$home/weights" ] || "$bin/vitrine" model export synthetic --output "$home/weights" >&2
  echo "$home/weights"
}

case ${1:-} in
cuda)
  nvidia-smi -L | sed 's/ (UUID.*//'
  program driver internal/engine/cuda/driver driver
  VITRINE_TORCH_PYTHON=$(command -v "$python")
  export VITRINE_TORCH_PYTHON VITRINE_TORCH_DEVICE=cuda
  program torch internal/engine/torch torch
  program onnxruntime internal/engine/onnxruntime onnxruntime-cuda -test.run '^TestCompliance$/^(cpu|cuda)$|^TestGolden$//^(cpu$|cuda$|opset)'
  program onnxruntime internal/engine/onnxruntime onnxruntime-rest -test.skip '^(TestGolden|TestCompliance)$'
  program fleet internal/engine/fleet fleet -test.run 'OnCards'
  "$bin/vitrine" doctor --torch-python "$(command -v "$python")" >"$out/doctor.txt" 2>&1 || failed=$((failed + 1))
  ;;
trt) program onnxruntime internal/engine/onnxruntime onnxruntime-trt -test.run '^TestCompliance$/^tensorrt$|^TestGolden$//^tensorrt$' ;;
direct)
  direct --provider cuda --precision fp32 --option use_tf32=1 --rounds 11 --runs 20 --pause 0.01
  direct --provider cuda --precision fp16 --cuda-graph --rounds 11 --runs 20 --pause 0.01
  ;;
direct-trt) # the study's server plans the same sizes, and so finds the engine
  direct --provider tensorrt --precision fp16 --rounds 11 --runs 20 --pause 0.01
  direct --provider tensorrt --precision fp16 --cuda-graph --rounds 11 --runs 20 --pause 0.01
  ;;
study)
  weights=$(weights)
  [ -f "$home/model.onnx" ] || "$bin/vitrine" model export "$weights" --format onnx --output "$home/model.onnx"
  tv=$home/tv
  if [ ! -x "$tv/bin/python" ]; then
    env -u PYTHONPATH "$python" -m venv --without-pip "$tv"
    lib=$(find "$tv/lib" -name site-packages)
    cp -r "$home/triton/." "$lib/"
    cp -r "$home/site/onnxruntime" "$lib/"
    chmod +x "$lib/pytriton/tritonserver/bin/tritonserver"
  fi
  export VITRINE_ONNXRUNTIME_CACHE="$home/cache"
  "$bin/vitrine" bench study "$root/studies/reference.yaml" --edition gpu-short --out "$out/study" --set "python=$python" --set "weights=$weights" \
    --set "fastapi_options=--python $python --weights $weights" \
    --set "triton_options=--python $tv/bin/python --onnx $home/model.onnx --library-path $nvidia" || failed=$((failed + 1))
  for log in "$out"/study/logs/*.log; do [ ! -f "$log" ] || mv "$log" "$out/study-$(basename "$log")"; done
  ;;
*)
  echo "usage: run.sh cuda|trt|direct|direct-trt|study" >&2
  exit 2
  ;;
esac
[ $failed -eq 0 ] || { echo "$failed of the stage's parts failed" >&2; exit 1; }
