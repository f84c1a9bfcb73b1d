"""Starts the Triton server of the nvidia-pytriton wheel on loopback, without PyTriton's launcher."""

import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SITE = sysconfig.get_paths()["purelib"]
NOT_LOADED = {"unloaded", "broken", "misspelt"}  # left to the load requests of the corpus


def backend(root):
    """The Python backend with the stub of the running interpreter."""
    triton = f"{SITE}/pytriton/tritonserver"
    folder = f"{root}/backends/python"
    os.makedirs(folder)
    for path in glob.glob(f"{triton}/backends/python/*"):
        os.symlink(path, f"{folder}/{os.path.basename(path)}")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stub = f"{folder}/triton_python_backend_stub"
    if os.path.islink(stub):
        os.unlink(stub)
    shutil.copy(f"{triton}/python_backend_stubs/{version}/triton_python_backend_stub", stub)
    os.chmod(stub, 0o755)
    return f"{root}/backends"


def repository(root):
    """models/ with model.py in every version folder."""
    folder = f"{root}/models"
    shutil.copytree(f"{HERE}/models", folder)
    for name in os.listdir(folder):
        for version in ("1", "2", "3") if name == "versions" else ("1",):
            os.makedirs(f"{folder}/{name}/{version}", exist_ok=True)
            shutil.copy(f"{HERE}/model.py", f"{folder}/{name}/{version}/model.py")
    return folder


class NotReady(Exception):
    """On a busy machine the Python backend's locks time out while models load; a new start helps."""


class Triton:
    """A running server; use it in a with statement."""

    def __init__(self, root, http, grpc, metrics, options=(), headers={}):
        models = repository(root)
        load = [f"--load-model={m}" for m in sorted(os.listdir(models)) if m not in NOT_LOADED]
        library = sysconfig.get_config_var("LIBDIR")
        env = dict(os.environ, TRANSCRIPT_SITE_PACKAGES=SITE,
                   LD_LIBRARY_PATH=f"{SITE}/nvidia_pytriton.libs:{library}")
        self.log = open(f"{root}/triton.log", "w")
        self.http, self.headers = http, headers
        self.process = subprocess.Popen([
            f"{SITE}/pytriton/tritonserver/bin/tritonserver",
            f"--model-repository={models}", f"--backend-directory={backend(root)}",
            "--http-address=127.0.0.1", "--grpc-address=127.0.0.1",
            f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}",
            "--model-control-mode=explicit", "--model-load-thread-count=2", "--disable-auto-complete-config",
            "--backend-config=python,shm-default-byte-size=1048576",
            "--backend-config=python,shm-region-prefix-name=transcript",
            *load, *options,
        ], env=env, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        until = time.monotonic() + 300
        while time.monotonic() < until and self.process.poll() is None:
            try:
                probe = urllib.request.Request(f"http://127.0.0.1:{self.http}/v2/health/ready", headers=self.headers)
                urllib.request.urlopen(probe, timeout=2)
                return self
            except OSError:
                time.sleep(0.5)
        self.__exit__()
        raise NotReady(f"the server did not become ready: see {self.log.name}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":  # python server.py ROOT PORT: keep one running
    root, port = sys.argv[1], int(sys.argv[2])
    with Triton(root, port, port + 1, port + 2, sys.argv[3:]) as server:
        print("ready", flush=True)
        server.process.wait()
