"""Records what Triton 2.51 answers while models come, change, fail and go: lifecycle.json.

    python testdata/triton/lifecycle.py ROOT > testdata/triton/lifecycle.json

Each step changes the repository or calls the control API, and then keeps the index, readiness and the
version that answers. internal/oip/disk takes the same steps and compares.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request

from server import SITE, backend

CONFIG = """backend: "python"
max_batch_size: 8
input { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] }
instance_group { kind: KIND_CPU count: 1 }
"""
GOOD = """import os, sys
sys.path.insert(0, os.environ["TRANSCRIPT_SITE_PACKAGES"])
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.version = np.float32(args["model_version"])
        print("INITIALIZED", args["model_name"], args["model_version"], flush=True)

    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0",
                pb_utils.get_input_tensor_by_name(r, "INPUT0").as_numpy() + self.version)]) for r in requests]
"""
BAD = """import os, sys
sys.path.insert(0, os.environ["TRANSCRIPT_SITE_PACKAGES"])


class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("this version does not start")

    def execute(self, requests):
        return []
"""


class Server:
    def __init__(self, root, port, *options):
        self.models, self.port = f"{root}/repository", port
        env = dict(os.environ, TRANSCRIPT_SITE_PACKAGES=SITE,
                   LD_LIBRARY_PATH=f"{SITE}/nvidia_pytriton.libs:{sysconfig.get_config_var('LIBDIR')}")
        self.log = open(f"{root}/triton.log", "a")
        self.process = subprocess.Popen([
            f"{SITE}/pytriton/tritonserver/bin/tritonserver", f"--model-repository={self.models}",
            f"--backend-directory={root}/backends", f"--http-port={port}", "--allow-grpc=0", "--allow-metrics=0",
            "--disable-auto-complete-config", "--backend-config=python,shm-default-byte-size=1048576",
            "--backend-config=python,shm-region-prefix-name=lifecycle", *options,
        ], env=env, stdout=self.log, stderr=subprocess.STDOUT)

    def call(self, method, path, body=None):
        r = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                   data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(r, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def wait(self):
        while self.process.poll() is None:
            try:
                self.call("GET", "/v2/health/live")
                return
            except OSError:
                time.sleep(0.2)

    def index(self):
        while True:
            index = json.loads(self.call("POST", "/v2/repository/index")[1])
            if not any(e.get("state") in ("LOADING", "UNLOADING") for e in index):
                return index
            time.sleep(0.5)

    def observe(self, step, **more):
        index = self.index()
        for e in index:
            if "RuntimeError: this version does not start" in e.get("reason", ""):
                e["reason"] = "Internal: RuntimeError: this version does not start"  # and a Python traceback
        answers = {}
        for name in ("m", "n"):
            code, body = self.call("POST", f"/v2/models/{name}/infer", {"inputs": [
                {"name": "INPUT0", "datatype": "FP32", "shape": [1, 1], "data": [0]}]})
            answers[name] = json.loads(body).get("model_version") or json.loads(body)["error"]
        return {"step": step, **more, "index": sorted(index, key=lambda e: (e["name"], e.get("version", ""))),
                "ready": self.call("GET", "/v2/health/ready")[0], "answers": answers}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)


def write(root, name, version=None, text=GOOD, config=None):
    folder = f"{root}/repository/{name}"
    os.makedirs(folder, exist_ok=True)
    if config:
        with open(f"{folder}/config.pbtxt.new", "w") as f:
            f.write(config)
        os.rename(f"{folder}/config.pbtxt.new", f"{folder}/config.pbtxt")
    if version:
        os.makedirs(f"{root}/staged/{version}")
        with open(f"{root}/staged/{version}/model.py", "w") as f:
            f.write(text)
        if os.path.isdir(f"{folder}/{version}"):  # replaced in one step, as a careful deployment does it
            os.rename(f"{root}/staged/{version}/model.py", f"{folder}/{version}/model.py")
            shutil.rmtree(f"{root}/staged/{version}")
        else:
            os.rename(f"{root}/staged/{version}", f"{folder}/{version}")


def remove(root, path):
    os.rename(f"{root}/repository/{path}", f"{root}/gone")
    shutil.rmtree(f"{root}/gone")


def fresh(root):
    shutil.rmtree(f"{root}/repository", ignore_errors=True)
    shutil.rmtree(f"{root}/staged", ignore_errors=True)
    os.makedirs(f"{root}/repository")
    os.makedirs(f"{root}/staged")


def polling(root, port):
    fresh(root)
    write(root, "m", 1, config=CONFIG)
    write(root, "n", 1, text=BAD, config=CONFIG)
    server = Server(root, port, "--model-control-mode=poll", "--repository-poll-secs=1", "--exit-on-error=false")
    server.wait()
    time.sleep(4)
    steps = [server.observe("start: n fails")]

    def step(name, act):
        act()
        time.sleep(4)
        steps.append(server.observe(name))

    step("n is mended", lambda: write(root, "n", 1))
    step("m gets version 2", lambda: write(root, "m", 2))
    step("m gets version 3, which fails", lambda: write(root, "m", 3, text=BAD))
    step("version 3 is mended", lambda: write(root, "m", 3))
    step("version 3 is changed and fails", lambda: write(root, "m", 3, text=BAD))
    step("version 3 is removed", lambda: remove(root, "m/3"))
    step("m serves all versions", lambda: write(root, "m", config=CONFIG + "version_policy { all { } }\n"))
    step("m's configuration is wrong", lambda: write(root, "m", config="max_delay: 1\n"))
    step("m's configuration is right again", lambda: write(root, "m", config=CONFIG))
    step("n is removed", lambda: remove(root, "n"))
    step("n is back", lambda: write(root, "n", 1, config=CONFIG))
    steps.append({"step": "load while polling", "answer": server.call("POST", "/v2/repository/models/m/load", {})})
    server.stop()
    return steps


def explicit(root, port):
    fresh(root)
    write(root, "m", 1, config=CONFIG)
    write(root, "n", 1, text=BAD, config=CONFIG)
    server = Server(root, port, "--model-control-mode=explicit")
    server.wait()
    time.sleep(2)
    steps = [server.observe("start")]

    def step(name, path, body=None, act=None):
        if act:
            act()
        code, text = server.call("POST", path, body or {})
        time.sleep(2)
        steps.append(server.observe(name, code=code, text=text.split("\\n")[0]))

    load, unload = "/v2/repository/models/%s/load", "/v2/repository/models/%s/unload"
    step("load m", load % "m")
    step("load n, which fails", load % "n")
    step("load x, which is not there", load % "x")
    step("load m with version 2, which fails", load % "m", act=lambda: write(root, "m", 2, text=BAD))
    step("load m with version 2 mended", load % "m", act=lambda: write(root, "m", 2))
    step("load m with all versions, of which 3 fails", load % "m", act=lambda: (write(root, "m", 3, text=BAD),
                                                             write(root, "m", config=CONFIG + "version_policy { all { } }\n")))
    step("load m with all versions, of which 3 is mended", load % "m", act=lambda: write(root, "m", 3))
    config = {"backend": "python", "max_batch_size": 4, "version_policy": {"specific": {"versions": [1]}},
              "input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [1]}],
              "output": [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [1]}],
              "instance_group": [{"kind": "KIND_CPU"}]}
    step("load m with a configuration", load % "m", {"parameters": {"config": json.dumps(config)}})
    step("load m with a wrong configuration", load % "m", {"parameters": {"config": "{\"max_delay\": 1}"}})
    import base64
    code = base64.b64encode(GOOD.encode()).decode()
    step("load m with a file and no configuration", load % "m", {"parameters": {"file:1/model.py": code}})
    config["version_policy"] = {"specific": {"versions": [7]}}
    step("load m with a file", load % "m", {"parameters": {"config": json.dumps(config), "file:7/model.py": code}})
    step("load y, of which there is only a file", load % "y", {"parameters": {"config": json.dumps(config), "file:7/model.py": code}})
    step("load m with a file outside", load % "m", {"parameters": {"config": json.dumps(config), "file:../7/model.py": code}})
    step("load m as stored", load % "m")
    step("unload m", unload % "m")
    step("unload m again", unload % "m")
    step("unload x, which is not there", unload % "x")
    server.stop()
    return steps


def starting(root, port):
    """Exit codes of servers whose start fails."""
    fresh(root)
    write(root, "m", 1, config=CONFIG)
    write(root, "n", 1, text=BAD, config=CONFIG)
    out = []
    for options in (["--model-control-mode=none"], ["--model-control-mode=explicit", "--load-model=n"],
                    ["--model-control-mode=explicit", "--load-model=x", "--exit-on-error=false"],
                    ["--load-model=m"], ["--model-control-mode=explicit", "--load-model=*", "--load-model=m"],
                    ["--model-control-mode=none", "--exit-on-error=false", "--strict-readiness=false"],
                    ["--model-control-mode=explicit", "--load-model=*", "--exit-on-error=false"]):
        server = Server(root, port, *options)
        try:
            server.process.wait(20)
            out.append({"options": options, "exit": server.process.returncode})
        except subprocess.TimeoutExpired:
            out.append({"options": options, **server.observe("running")})
            server.stop()
    return out


if __name__ == "__main__":
    root = sys.argv[1]
    os.makedirs(root, exist_ok=True)
    if not os.path.isdir(f"{root}/backends"):
        backend(root)
    json.dump({"poll": polling(root, 28600), "explicit": explicit(root, 28601), "start": starting(root, 28602)},
              sys.stdout, indent=1)
    print()
