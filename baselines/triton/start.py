#!/usr/bin/env python3
"""Starts the real Triton server, 2.51.0, with this project's model: one command, no container, no GPU needed.

The server comes from the PyPI wheel nvidia-pytriton. Of Triton's backends the wheel holds only Python's,
so the model is ONNX Runtime inside the Python backend: what a user without NVIDIA's 15 GB image gets, and
slower by a copy through shared memory than Triton's own ONNX Runtime backend. Report it under that name.

    --model onnx    openclip_vit_b32: FP32 [3,224,224] -> [512], not normalised, with the reference's dynamic batching
                    (preferred 4, 8, 16, 32; 10 ms)
    --model zeros   openclip_vit_b32 (FP32), openclip_vit_b32_u8 (UINT8) and openclip_vit_b32_jpeg (BYTES) that answer
                    zeros at once, no queue delay: what the server itself costs. openclip_vit_b32_jpeg_decoded decodes
                    and normalises with Pillow and NumPy first

Weights are those of Vitrine's `--model synthetic`, so answers can be compared; --weights or --onnx name others.
It prints "ready" with its addresses when it answers. SIGTERM or Ctrl-C stop it and its processes.
"""
import argparse
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import common  # noqa: E402

PYTRITON = "nvidia-pytriton==0.7.0"
RUNTIME = {"cpu": "onnxruntime==1.32.0", "openvino": "onnxruntime-openvino==1.24.1", "cuda": "onnxruntime-gpu[cuda,cudnn]==1.31.1",
           "tensorrt": "onnxruntime-gpu[cuda,cudnn]==1.31.1"}
EXPORT = ["torch", "onnx", "onnxscript", "open_clip_torch"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", choices=("onnx", "zeros"), default="onnx")
    p.add_argument("--providers", choices=tuple(RUNTIME), default=None, help="ONNX Runtime's execution provider (default: cpu, with --device cuda: cuda)")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--weights", metavar="FOLDER", help="open_clip_config.json and open_clip_model.safetensors (default: Vitrine's synthetic ones)")
    p.add_argument("--onnx", metavar="FILE", help="an ONNX model: image [n,3,224,224] -> embedding [n,512]")
    p.add_argument("--queue-delay-us", type=int, default=None, help="dynamic batching's delay in microseconds (default: 10000, with zeros 0)")
    p.add_argument("--instances", type=int, default=1, help="processes of the Python backend (default 1)")
    p.add_argument("--threads", type=int, default=0, help="threads of ONNX Runtime in each; 0 is one for each core")
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--http-port", type=int, default=8000)
    p.add_argument("--grpc-port", type=int, default=8001)
    p.add_argument("--metrics-port", type=int, default=8002)
    p.add_argument("--python", help="an interpreter that has nvidia-pytriton and ONNX Runtime (default: a virtual environment that is made)")
    p.add_argument("--export-python", help="an interpreter that has torch, onnx and open_clip_torch, to write the ONNX file (default: likewise)")
    p.add_argument("--library-path", dest="more_folders", default="", help="more folders with shared libraries, such as TensorRT's, separated by colons")
    p.add_argument("options", nargs="*", help="more options of tritonserver, after --")
    a = p.parse_args()
    a.providers = a.providers or a.device
    if a.queue_delay_us is None:
        a.queue_delay_us = 10000 if a.model == "onnx" else 0
    return a


def onnx_file(a):
    if a.onnx:
        return os.path.abspath(a.onnx)
    weights = a.weights or common.synthetic_weights()
    path = os.path.join(weights, "image_tower.onnx")
    if not os.path.exists(path):
        common.say(f"exporting {path}")
        python = a.export_python or common.environment("torch", EXPORT)
        subprocess.run([python, os.path.join(common.HERE, "clip.py"), weights, path], check=True, stdout=sys.stderr)
    return path


def interpreter(a):
    """Python, its version, its site-packages and its library folder."""
    packages = [PYTRITON, "numpy<2", "pillow"] + ([RUNTIME[a.providers]] if a.model == "onnx" else [])
    python = a.python or common.environment(f"triton-{a.providers}" if a.model == "onnx" else "triton", packages)
    ask = "import sys, sysconfig; print(*sys.version_info[:2], sep='.'); print(sysconfig.get_paths()['purelib']); print(sysconfig.get_config_var('LIBDIR'))"
    return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.split("\n")[:3]


def backend(root, site, version):
    """The Python backend with the stub of the interpreter's version."""
    triton, folder = f"{site}/pytriton/tritonserver", f"{root}/backends/python"
    stub = f"{triton}/python_backend_stubs/{version}/triton_python_backend_stub"
    if not os.path.exists(stub):
        raise SystemExit(f"{PYTRITON} has no Python backend for Python {version}; name another interpreter with --python")
    shutil.copytree(f"{triton}/backends/python", folder)
    shutil.copy(stub, folder)
    os.chmod(f"{folder}/triton_python_backend_stub", 0o755)


def repository(root, a, onnx):
    models = {"openclip_vit_b32": ("TYPE_FP32", "3, 224, 224")}
    if a.model == "zeros":
        models["openclip_vit_b32_u8"] = ("TYPE_UINT8", "-1, -1, 3")
        models["openclip_vit_b32_jpeg"] = models["openclip_vit_b32_jpeg_decoded"] = ("TYPE_STRING", "1")
    batching = f"preferred_batch_size: [ 4, 8, 16, 32 ] max_queue_delay_microseconds: {a.queue_delay_us}" if a.queue_delay_us else ""
    template = open(f"{HERE}/config.pbtxt").read()
    for name, (datatype, dims) in models.items():
        os.makedirs(f"{root}/models/{name}/1")
        decodes = name.endswith("decoded")
        instances = max(a.instances, os.cpu_count()) if decodes else a.instances  # Pillow in one process would leave cores idle
        with open(f"{root}/models/{name}/config.pbtxt", "w") as out:
            out.write(template.format(name=name, datatype=datatype, dims=dims, batching=batching, instances=instances,
                                      run="decode" if decodes else a.model, providers=a.providers, threads=a.threads))
        shutil.copy(f"{HERE}/model.py", f"{root}/models/{name}/1")
        if onnx:
            os.symlink(onnx, f"{root}/models/{name}/1/model.onnx")


def region():
    """What the names of this server's shared memory begin with."""
    return f"vitrine-baseline-{os.getpid()}-"


def command(root, a, site):
    return [f"{site}/pytriton/tritonserver/bin/tritonserver", f"--model-repository={root}/models", f"--backend-directory={root}/backends",
            f"--http-address={a.address}", f"--grpc-address={a.address}", f"--metrics-address={a.address}",
            f"--http-port={a.http_port}", f"--grpc-port={a.grpc_port}", f"--metrics-port={a.metrics_port}",
            "--disable-auto-complete-config", "--log-info=false", f"--backend-config=python,shm-region-prefix-name={region()}",
            # Room for 128 images of float32 from the start; the backend would grow to it while it is measured.
            f"--backend-config=python,shm-default-byte-size={128 << 20}", *a.options]


def announce(process, a):
    """Says when the server is ready, unless it ends before."""
    url = f"http://{a.address}:{a.http_port}/v2/health/ready"
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            print(f"ready http={a.address}:{a.http_port} grpc={a.address}:{a.grpc_port} metrics=http://{a.address}:{a.metrics_port}/metrics", flush=True)
            return
        except OSError:
            time.sleep(0.1)


def main():
    a = arguments()
    onnx = onnx_file(a) if a.model == "onnx" else None
    version, site, libraries = interpreter(a)
    root = tempfile.mkdtemp(prefix="triton-baseline-")
    try:
        backend(root, site, version)
        repository(root, a, onnx)
        engines = os.path.join(common.CACHE, "tensorrt-engines")
        os.makedirs(engines, exist_ok=True)
        env = dict(os.environ, BASELINE_SITE_PACKAGES=site, BASELINE_ENGINE_CACHE=engines,
                   LD_LIBRARY_PATH=":".join(filter(None, [f"{site}/nvidia_pytriton.libs", libraries, a.more_folders])))
        process = subprocess.Popen(command(root, a, site), env=env, stdout=sys.stderr, start_new_session=True)
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, lambda *_: process.terminate())
        threading.Thread(target=announce, args=(process, a), daemon=True).start()
        return process.wait()
    finally:
        shutil.rmtree(root, ignore_errors=True)
        for left in glob.glob(f"/dev/shm/{region()}*"):  # the backend's processes do not always
            os.unlink(left)


if __name__ == "__main__":
    sys.exit(main())
