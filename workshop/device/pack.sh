#!/bin/sh
# Packs what a machine with a card needs to run other people's runtimes; README.md says what and how it goes on.
#
#   workshop/device/pack.sh [BUNDLE...]     OUT=.dev/ort PART_MB=46 PYTHON=python3
#
# Needs Go, pip, unzip, zstd, and for the bundle trt Maven. What is there already is not made again.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
out=${OUT:-.dev/ort}
part=${PART_MB:-46}
python=${PYTHON:-python3}
[ $# -gt 0 ] || set -- go ort serve
mkdir -p "$out"
out=$(cd "$out" && pwd)

# wheels FOLDER NAME==VERSION...: downloads wheels for the machine's Python 3.12 and unpacks them.
wheels() {
  to=$1
  shift
  kept=$out/wheels/$(basename "$to")
  mkdir -p "$kept" "$to"
  platforms=
  for n in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17; do platforms="$platforms --platform manylinux_${n}_x86_64"; done
  # shellcheck disable=SC2086 # a list of words
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $platforms \
    --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --dest "$kept" "$@"
  for w in "$kept"/*.whl; do unzip -q -o "$w" -d "$to"; done
}

make_go() {
  mkdir -p bin
  git -C "$root" rev-parse --short HEAD >REVISION
  for p in onnxruntime torch fleet cuda/driver; do
    (cd "$root" && CGO_ENABLED=0 go test -c -trimpath -ldflags='-s -w' -o "$OLDPWD/bin/$(basename $p).test" "./internal/engine/$p")
  done
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$OLDPWD/bin/" ./cmd/vitrine ./baselines/ortworker)
}

make_ort() { wheels "$PWD/site" onnxruntime-gpu==1.31.1; }

# FastAPI as baselines/fastapi/start.py wants it, and what PyTorch's environment lacks of open_clip; Triton's Python backend is built for NumPy 1.
make_serve() {
  wheels "$PWD/site" fastapi==0.165.0 starlette==1.10.0 uvicorn==0.54.0 h11 click python-multipart httptools uvloop anyio idna pydantic==2.14.4 pydantic-core==2.50.5 \
    annotated-types annotated-doc typing-extensions typing-inspection open_clip_torch timm ftfy wcwidth
  wheels "$PWD/triton" nvidia-pytriton==0.7.0 numpy==1.26.4
}

# The four libraries that ONNX Runtime's provider needs; those of other cards' builder resources stay behind.
make_trt() {
  jar=$out/tensorrt-10.6-1.5.11-linux-x86_64-redist.jar
  [ -f "$jar" ] || mvn -q dependency:copy -Dartifact=org.bytedeco:tensorrt:10.6-1.5.11:jar:linux-x86_64-redist -DoutputDirectory="$out"
  mkdir -p trt
  unzip -q -o -j "$jar" '*/libnvinfer.so.10' '*/libnvinfer_builder_resource.so.10.6.0' '*/libnvinfer_plugin.so.10' '*/libnvonnxparser.so.10' -d trt
}

# zip BUNDLE: one compressed archive, in parts.
zip() {
  rm -f "$out/$1".[0-9]*
  tar -C "$out/stage/$1" -cf - . | nice zstd -q -9 --long=27 -T0 | split -d -a 2 -b "${part}m" - "$out/$1."
  (cd "$out" && sha256sum "$1".[0-9]* >"$1.sha256")
}

for b in "$@"; do
  stage=$out/stage/$b
  mkdir -p "$stage"
  case $b in go | ort | serve | trt) ;; *) echo "pack: no bundle $b" >&2; exit 2 ;; esac
  (cd "$stage" && "make_$b")
  zip "$b"
done
# zstandard comes as a wheel: the machine has nothing that reads the rest without it.
[ -n "$(find "$out" -maxdepth 1 -name 'zstandard-*.whl')" ] ||
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux2014_x86_64 --dest "$out" zstandard

echo "Carry $out/zstandard-*.whl and the lists $out/*.sha256 with every part. Parts, in order:"
for b in "$@"; do
  for p in "$out/$b".[0-9]*; do echo "  sh workshop/device/take.sh ${p#"$root"/}    # $(du -m "$p" | cut -f1) MB"; done
done
