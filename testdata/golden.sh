#!/usr/bin/env bash
# Rewrites every golden file from its oracle. PYTHON names a Python with numpy, Pillow, scikit-image, torch,
# torchvision, open_clip_torch, transformers, safetensors, onnx, fastapi, httpx and python-multipart; the JPEG files
# also need cjpeg and jpegtran of libjpeg-turbo. Each script says at its head what it writes.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

# into OUTPUT SCRIPT: what the script prints replaces the file only if the script succeeds.
into() {
	echo "$2 > $1"
	"$python" "$2" >"$1.new" || { rm -f "$1.new"; return 1; }
	mv "$1.new" "$1"
}

# writes SCRIPT: the script knows its own files.
writes() {
	echo "$1"
	"$python" "$1"
}

into internal/model/testdata/synthetic.json testdata/synthetic.py
into internal/front/embedapi/testdata/fastapi_errors.json internal/front/embedapi/testdata/fastapi_errors.py
writes internal/preproc/testdata/golden.py
writes internal/preproc/jpeg/testdata/golden.py
writes testdata/models/make.py
into internal/engine/cpu/testdata/golden.json internal/engine/cpu/testdata/golden.py
into internal/tensor/testdata/e4m3.json internal/tensor/testdata/e4m3.py
into internal/engine/fp8/testdata/golden.json internal/engine/fp8/testdata/golden.py
writes internal/engine/fp8/testdata/photos.py
writes internal/engine/onnxruntime/testdata/graphs.py
