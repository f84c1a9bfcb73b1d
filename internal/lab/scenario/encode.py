"""Times how a Python client encodes an embedding request: what the benchmark reference measured.

Reads from standard input a line of JSON {"format", "batch", "shape", "repeats", "warmup", "jpeg"}, then
the image's tensor (float32, little-endian, C order), then its JPEG of "jpeg" bytes. Prints a line of JSON
{"ms": [...], "bytes": n, "python": "...", "numpy": "..."}; bytes are the request body's.
"""
import base64
import json
import platform
import sys
import time

import numpy as np

job = json.loads(sys.stdin.buffer.readline())
image = np.frombuffer(sys.stdin.buffer.read(4 * int(np.prod(job["shape"]))), dtype="<f4").reshape(job["shape"])
jpeg = sys.stdin.buffer.read(job["jpeg"])
batch = np.ascontiguousarray(np.broadcast_to(image, (job["batch"], *job["shape"])))


def head(**more):
    return {"name": "image", "shape": list(batch.shape), "datatype": "FP32", **more}


def as_json():
    return json.dumps({"inputs": [head(data=batch.tolist())]}).encode()


def as_binary():
    text = json.dumps({"inputs": [head(parameters={"binary_data_size": batch.nbytes})]}).encode()
    return text + batch.tobytes()


def as_base64_jpeg():
    return json.dumps({"images": [base64.b64encode(jpeg).decode() for _ in range(job["batch"])]}).encode()


encode = {"json": as_json, "binary": as_binary, "base64_jpeg": as_base64_jpeg}[job["format"]]
for _ in range(job["warmup"]):
    encode()
times = []
for _ in range(job["repeats"]):
    began = time.perf_counter()
    body = encode()
    times.append(1000 * (time.perf_counter() - began))
print(json.dumps({"ms": times, "bytes": len(body), "python": platform.python_version(), "numpy": np.__version__}))
