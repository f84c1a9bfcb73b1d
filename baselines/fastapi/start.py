#!/usr/bin/env python3
"""Starts the usual service, FastAPI with PyTorch and open_clip, with one command: it installs what it needs.

Weights are those of Vitrine's `--model synthetic`, so answers can be compared; --weights names others.
Prints "ready" with its address when it answers. SIGTERM or Ctrl-C stop it. service.py says what it serves.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import common  # noqa: E402

WEB = ["fastapi", "uvicorn[standard]", "python-multipart", "pillow", "numpy"]
TORCH = ["torch", "onnx", "onnxscript", "open_clip_torch"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="that compute (default: one for each core)")
    p.add_argument("--runtime", choices=("torch", "onnxruntime"), default="torch", help="onnxruntime needs no PyTorch if --onnx names a file")
    p.add_argument("--as-reference", action="store_true", help="the naive service: no threads, everything on the event loop")
    p.add_argument("--weights", metavar="FOLDER", help="open_clip_config.json and open_clip_model.safetensors (default: Vitrine's synthetic ones)")
    p.add_argument("--onnx", metavar="FILE", help="with --runtime onnxruntime: the model (default: exported from the weights with PyTorch)")
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--port", type=int, default=9000)
    p.add_argument("--python", help="an interpreter that has the packages (default: a virtual environment that is made)")
    a = p.parse_args()
    if a.runtime == "onnxruntime" and a.precision != "fp32":
        p.error("--runtime onnxruntime computes in fp32: export another file for another precision")
    return a


def interpreter(a):
    if a.python:
        return a.python
    if a.runtime == "torch":
        return common.environment("fastapi-torch", WEB + TORCH)
    cuda = a.device == "cuda"
    return common.environment(f"fastapi-ort-{a.device}", WEB + ["onnxruntime-gpu[cuda,cudnn]==1.31.1" if cuda else "onnxruntime==1.32.0"])


def onnx_file(a, weights):
    path = a.onnx or os.path.join(weights, "image_tower.onnx")
    if not os.path.exists(path):
        exporter = common.environment("torch", TORCH)
        subprocess.run([exporter, os.path.join(common.HERE, "clip.py"), weights, path], check=True, stdout=sys.stderr)
    return os.path.abspath(path)


def announce(process, a):
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://{a.address}:{a.port}/health", timeout=2)
            print(f"ready http={a.address}:{a.port}", flush=True)
            return
        except OSError:
            time.sleep(0.1)


def main():
    a = arguments()
    weights = os.path.abspath(a.weights or common.synthetic_weights())
    settings = {k: getattr(a, k) for k in ("device", "precision", "threads", "runtime", "as_reference")} | {"weights": weights}
    if a.runtime == "onnxruntime":
        settings["onnx"] = onnx_file(a, weights)
    command = [interpreter(a), "-m", "uvicorn", "service:app", "--app-dir", HERE, "--host", a.address, "--port", str(a.port),
               "--log-level", "warning", "--no-access-log"]
    env = dict(os.environ, SETTINGS=json.dumps(settings), OMP_NUM_THREADS=str(a.threads))
    process = subprocess.Popen(command, env=env, stdout=sys.stderr, start_new_session=True)
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: process.terminate())
    threading.Thread(target=announce, args=(process, a), daemon=True).start()
    code = process.wait()
    return 0 if code == -signal.SIGTERM else code  # uvicorn ends by the signal that stopped it


if __name__ == "__main__":
    sys.exit(main())
