#!/usr/bin/env python3
"""Sends one photograph to FastAPI, the real Triton and Vitrine with the same weights and compares the embeddings.

    baselines/smoke.py                    # installs and starts all three

Exit code 1 if a cosine is below 0.9999. FastAPI and Vitrine decode the JPEG themselves; Triton, and Vitrine
again, get the float tensor that Pillow and NumPy make here.
"""
import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import common  # noqa: E402

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def ports(n):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in sockets]


@contextlib.contextmanager
def started(name, command):
    """A server that says "ready" on its standard output; what it logs is shown if it does not."""
    log = open(os.path.join(common.CACHE, f"smoke-{name.split()[0]}.log"), "w+")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        while not (line := process.stdout.readline()).startswith("ready"):
            if not line:
                log.seek(0)
                raise SystemExit(f"{name} did not start:\n{log.read()}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        print(f"{name}: stopped with {code}")


def post(port, path, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {data[:300]}")
    return answer.headers, data


def by_base64(port, jpeg):
    body = json.dumps({"images": [base64.b64encode(jpeg).decode()], "model_name": "ViT-B-32", "pretrained": "openai"})
    headers, data = post(port, "/embed/base64", body, {"Content-Type": "application/json"})
    return np.array(json.loads(data)["embeddings"][0], np.float32), headers["Server-Timing"]


def by_multipart(port, jpeg):
    edge = "vitrine-smoke"
    body = (f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode()
            + jpeg + f"\r\n--{edge}--\r\n".encode())
    headers, data = post(port, "/embed/batch", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
    return np.array(json.loads(data)["embeddings"][0], np.float32), headers["Server-Timing"]


def by_tensor(port, planes):
    """A binary tensor by the Open Inference Protocol; the answer is normalised here."""
    head = json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 224, 224], "parameters": {"binary_data_size": planes.nbytes}}],
                       "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]}).encode()
    headers, data = post(port, "/v2/models/openclip_vit_b32/infer", head + planes.tobytes(), {"Inference-Header-Content-Length": str(len(head))})
    out = np.frombuffer(data[int(headers["Inference-Header-Content-Length"]):], np.float32)
    return out / np.linalg.norm(out), None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", help="an interpreter with torch, open_clip_torch, onnx, fastapi, uvicorn and python-multipart, instead of installing them")
    a = p.parse_args()
    photo = Image.open(os.path.join(common.ROOT, "testdata/photos/astronaut.jpg")).convert("RGB").resize((224, 224), Image.BICUBIC)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=90)
    jpeg = file.getvalue()
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    planes = np.ascontiguousarray(((pixels.astype(np.float32) / np.float32(255) - MEAN) / STD).transpose(2, 0, 1))

    weights, answers = common.synthetic_weights(), {}
    named = ["--python", a.python] if a.python else []
    exporter = ["--export-python", a.python] if a.python else []
    port, grpc, metrics = ports(3)
    service = [sys.executable, os.path.join(HERE, "fastapi", "start.py"), *named, "--weights", weights, "--port", str(port)]
    for name, flags in {"FastAPI torch": [], "FastAPI torch as the reference": ["--as-reference"], "FastAPI torch bf16": ["--precision", "bf16"]}.items():
        with started(name, service + flags):
            answers[name] = by_base64(port, jpeg)
            answers[f"{name}, multipart"] = by_multipart(port, jpeg)
    with started("Triton onnx", [sys.executable, os.path.join(HERE, "triton", "start.py"), *exporter, "--weights", weights, "--http-port", str(port),
                                 "--grpc-port", str(grpc), "--metrics-port", str(metrics)]):
        answers["Triton 2.51, ONNX Runtime in the Python backend"] = by_tensor(port, planes)
    with started("FastAPI onnxruntime", [*(x for x in service if x not in named), "--runtime", "onnxruntime"]):
        answers["FastAPI onnxruntime"] = by_base64(port, jpeg)
    for precision in ("fp32", "bf16"):
        with started(f"Vitrine {precision}", [common.vitrine(), "serve", "--model", weights, "--model-name", "ViT-B-32", "--pretrained", "openai",
                                              "--precision", precision, "--http", f"127.0.0.1:{port}", "--grpc", "off", "--metrics", "off"]):
            answers[f"Vitrine {precision}, base64"] = by_base64(port, jpeg)
            answers[f"Vitrine {precision}, tensor"] = by_tensor(port, planes)

    want, _ = answers["FastAPI torch"]
    failed = False
    for name, (got, timing) in answers.items():
        cosine = float(want @ got / np.linalg.norm(want) / np.linalg.norm(got))
        failed |= not cosine >= 0.9999
        print(f"{name:55} cosine {cosine:.7f}{'' if cosine >= 0.9999 else '  BELOW 0.9999'}  {timing or ''}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
