#!/bin/bash
# Packs what beside.py needs on a machine with a card and no network into FOLDER, in parts that fit a small upload:
# TensorRT's libraries and Python bindings (once: 633 MB), and this tree's binaries (each time). device.sh is the other end.
#
#   baselines/tensorrt/pack.sh FOLDER
#
# The libraries are Maven Central's org.bytedeco:tensorrt:10.6-1.5.11:linux-x86_64-redist (1.1 GB); later ones lack the builder's
# resources for compute capability 9.0. Needs Go, pip, mvn (or JAR, that file), unzip and zstd.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:?usage: pack.sh FOLDER}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
part=${PART:-48000000} # bytes
python=${PYTHON:-python3}

wheel() { # for the machine's Python, whatever this one's is
	"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "${DEVICE_PYTHON:-3.12}" --implementation cp \
		--platform manylinux_2_31_x86_64 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$1" "$2"
}

libraries() {
	local work jar=${JAR:-}
	work=$(mktemp -d "$folder/work.XXXXXX")
	mkdir "$work/lib"
	if [ -z "$jar" ]; then
		mvn -q dependency:copy -Dartifact=org.bytedeco:tensorrt:10.6-1.5.11:jar:linux-x86_64-redist -DoutputDirectory="$work"
		jar=$(echo "$work"/tensorrt-*-redist.jar)
	fi
	unzip -q -j "$jar" '*/libnvinfer.so*' '*/libnvinfer_builder_resource.so*' '*/libnvinfer_plugin.so*' '*/libnvonnxparser.so*' -d "$work/lib"
	wheel "$work" tensorrt-cu12-bindings==10.6.0
	unzip -q "$work"/tensorrt*.whl -d "$work/lib"
	wheel "$folder" zstandard
	rm -f "$folder"/zstandard.whl && mv "$folder"/zstandard-*.whl "$folder/zstandard.whl"
	tar -C "$work/lib" -c . | zstd -q -T0 "-${LEVEL:-12}" --long=27 -o "$work/all.zst"
	(cd "$folder" && split -b "$part" -d "$work/all.zst" part-)
	rm -rf "$work"
}

tools() {
	local work
	work=$(mktemp -d "$folder/tools.XXXXXX")
	(cd "$root" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -o "$work/vitrine" ./cmd/vitrine &&
		CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go test -c -trimpath -o "$work/cuda.test" ./internal/engine/cuda)
	git -C "$root" rev-parse --short HEAD >"$work/revision"
	tar -C "$work" -cJf "$folder/tools.tar.xz" vitrine cuda.test revision
	rm -rf "$work"
}

compgen -G "$folder/part-*" >/dev/null || libraries
tools
(cd "$folder" && sha256sum part-* zstandard.whl tools.tar.xz >sums)
echo "$(ls "$folder"/part-* | wc -l) parts, $(du -cm "$folder"/part-* "$folder/tools.tar.xz" "$folder/zstandard.whl" | tail -1 | cut -f1) MiB in all"
