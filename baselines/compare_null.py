#!/usr/bin/env python3
"""Vitrine's null engine against the real Triton 2.51 with a Python backend that returns zeros: what each server costs.

No queue delay on either, the same client on the same cores, in turns: each round measures every request shape at every
number of clients, the two servers one after the other, the first of them alternating. HTTP is driven by wrk (one thread),
gRPC by baselines/grpcload (the same closed loop, a connection a client). Needs Go, wrk and network access to PyPI for
Triton's wheel unless --triton-python names an interpreter that has it.

    baselines/compare_null.py --record docs/records/null-vs-triton.jsonl     # about 14 minutes
    baselines/null_table.py docs/records/null-vs-triton.jsonl                # writes the table into docs/performance.md

Of the two JPEG shapes the first leaves Triton's bytes unread, while Vitrine decodes them; in the second Triton's backend
decodes and normalises them with Pillow and NumPy, as its users do, and then returns zeros.
JSON at more than 8 clients runs three times as long, since answers take seconds there.

Processor time is that of the server's whole process tree (Triton's Python backend included), user and system, by the
requests that the server itself says it answered: those whose client left at the end of the run cost too.
Bytes are those written and read by the client on its connections, HTTP's and gRPC's framing included.
"""
import argparse
import datetime
import functools
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import common

SHAPES = ("FP32 binary, HTTP", "FP32 JSON, HTTP", "FP32 binary, gRPC", "raw JPEG, HTTP", "raw JPEG, decoded by both, HTTP")
TICK = os.sysconf("SC_CLK_TCK")


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


def tree(pid):
    """The process and all its descendants."""
    found = [pid]
    for p in found:
        try:
            for thread in os.listdir(f"/proc/{p}/task"):
                found += map(int, open(f"/proc/{p}/task/{thread}/children").read().split())
        except OSError:
            pass  # it has ended
    return found


def cpu_seconds(pid):
    total = 0
    for p in tree(pid):
        try:
            total += sum(map(int, open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[11:13]))
        except OSError:
            pass
    return total / TICK


class Server:
    def __init__(self, name, command, http_port, grpc_port, cores):
        self.name, self.http, self.grpc = name, http_port, grpc_port
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(pinned(command, cores), stdout=subprocess.PIPE, stderr=self.log, text=True)
        while not (line := self.process.stdout.readline()).startswith("ready"):
            if not line:
                self.log.seek(0)
                raise SystemExit(f"{name} did not start:\n{self.log.read()}")

    def settle(self):
        """Waits until it is idle: some servers go on with requests whose clients have left."""
        before = -1.0
        while (now := cpu_seconds(self.process.pid)) > before + 0.02:
            before = now
            time.sleep(0.3)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def pinned(command, cores):
    return ["taskset", "-c", cores, *command] if cores else command


def photograph():
    from PIL import Image

    image = Image.open(os.path.join(common.ROOT, "testdata/photos/astronaut.jpg")).convert("RGB").resize((224, 224), Image.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


class Request:
    """One HTTP request: model, body, and the length of its JSON part (None: all of it)."""

    def __init__(self, model, body, header_length):
        self.model, self.path, self.body, self.length = model, f"/v2/models/{model}/infer", body, header_length
        self.headers = {"Content-Type": "application/json" if header_length is None else "application/octet-stream", "Accept": "*/*"}
        if header_length is not None:
            self.headers["Inference-Header-Content-Length"] = str(header_length)

    def of(self, server, shape):
        """The same for a server: Triton has a model of its own that decodes."""
        if server.name == "Triton" and "decoded" in shape:
            return Request("openclip_vit_b32_jpeg_decoded", self.body, self.length)
        return self

    def bytes(self, port):
        """What wrk writes for it."""
        lines = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(self.body)), **self.headers}
        return len(f"POST {self.path} HTTP/1.1\r\n") + sum(len(f"{k}: {v}\r\n") for k, v in lines.items()) + 2 + len(self.body)


def requests():
    import numpy as np

    # Numbers as a normalised photograph has them, with the digits that Python prints for doubles, as the reference's client sends.
    planes = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
    tensor = {"name": "image", "datatype": "FP32", "shape": list(planes.shape)}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": planes.nbytes}}],
                       "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]}).encode()
    return {"FP32 binary, HTTP": Request("openclip_vit_b32", head + planes.tobytes(), len(head)),
            "FP32 JSON, HTTP": Request("openclip_vit_b32", json.dumps({"inputs": [{**tensor, "data": planes.tolist()}]}).encode(), None),
            "raw JPEG, HTTP": Request("openclip_vit_b32_jpeg", photograph(), 0),
            "raw JPEG, decoded by both, HTTP": Request("openclip_vit_b32_jpeg", photograph(), 0)}


def check(server, shape, request):
    """One request by a plain client: an answer that is an error or too small must not be measured."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    connection.request("POST", request.path, request.body, request.headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200 or len(data) < 512:
        raise SystemExit(f"{server.name}, {shape}: {answer.status} {data[:300]}")


def wrk(server, request, clients, seconds, cores, folder):
    path = os.path.join(folder, "body")
    with open(path, "wb") as file:
        file.write(request.body)
    env = dict(os.environ, BODY=path, CONTENT_TYPE=request.headers["Content-Type"], ACCEPT="*/*")
    if request.length is not None:
        env["HEADER_LENGTH"] = str(request.length)
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", os.path.join(common.HERE, "post.lua"),
               f"http://127.0.0.1:{server.http}{request.path}"]
    out = subprocess.run(pinned(command, cores), env=env, capture_output=True, text=True, check=True).stdout
    got = json.loads(re.search(r"RESULT (.*)", out).group(1))
    got["sent_bytes"], got["received_bytes"] = request.bytes(server.http), round(got.pop("received") / max(got["requests"], 1))
    del got["sent_body"]
    return got


def grpc(server, clients, seconds, cores, binary):
    command = [binary, "-address", f"127.0.0.1:{server.grpc}", "-clients", str(clients), "-duration", f"{seconds}s"]
    done = subprocess.run(pinned(command, cores), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{server.name}, gRPC: {done.stderr}")
    return json.loads(done.stdout)


def answered(server, model):
    """How many requests the server has answered, by its own statistics."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    connection.request("GET", f"/v2/models/{model}/stats")
    return json.loads(connection.getresponse().read())["model_stats"][0]["inference_stats"]["success"]["count"]


def measure(server, model, run):
    server.settle()
    served, before, start = answered(server, model), cpu_seconds(server.process.pid), time.perf_counter()
    got = run()
    took = time.perf_counter() - start
    server.settle()  # what the clients left behind belongs to their requests
    used, served = cpu_seconds(server.process.pid) - before, answered(server, model) - served
    if got["errors"]:
        raise SystemExit(f"{server.name}: {got['errors']} of {got['requests']} requests failed")
    return {**got, "per_second": round(got["requests"] / got["seconds"], 2), "wall_s": round(took, 3),
            "served": served, "cpu_s": round(used, 3), "cpu_ms_per_request": round(used / max(served, 1) * 1e3, 4)}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3, help="of each run (default 3)")
    p.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    p.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    p.add_argument("--server-cores", metavar="LIST", help="cores of the server under test, as taskset takes them (default: all)")
    p.add_argument("--client-cores", metavar="LIST", help="cores of the client (default: all)")
    p.add_argument("--triton-python", help="an interpreter that has nvidia-pytriton")
    p.add_argument("--record", required=True, help="JSON Lines file to write")
    return p.parse_args()


def machine():
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read()).group(1)
    commit = subprocess.run(["git", "-C", common.ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "load": os.getloadavg(), "commit": commit,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def start(a):
    http_port, grpc_port = free_ports(2)
    yield Server("Vitrine", [common.vitrine(), "serve", "--engine", "null", "--http", f"127.0.0.1:{http_port}", "--grpc", f"127.0.0.1:{grpc_port}",
                             "--metrics", "off", "--access-log=false"], http_port, grpc_port, a.server_cores)
    http_port, grpc_port, metrics_port = free_ports(3)
    named = ["--python", a.triton_python] if a.triton_python else []
    yield Server("Triton", [sys.executable, os.path.join(common.HERE, "triton", "start.py"), "--model", "zeros", *named, "--http-port", str(http_port),
                            "--grpc-port", str(grpc_port), "--metrics-port", str(metrics_port)], http_port, grpc_port, a.server_cores)


def runs(a, servers, bodies, folder, loader):
    """Every run in its order: what it is, its server, the model, and the function that runs it."""
    for round_ in range(a.rounds):
        for shape in a.shapes:
            for clients in a.clients:
                seconds = a.seconds * (3 if "JSON" in shape and clients > 8 else 1)
                for server in servers if round_ % 2 == 0 else servers[::-1]:
                    labels = {"server": server.name, "shape": shape, "clients": clients, "round": round_}
                    if shape.endswith("gRPC"):
                        yield labels, server, "openclip_vit_b32", functools.partial(grpc, server, clients, seconds, a.client_cores, loader)
                    else:
                        request = bodies[shape].of(server, shape)
                        yield labels, server, request.model, functools.partial(wrk, server, request, clients, seconds, a.client_cores, folder)


def main():
    a = arguments()
    bodies, servers = requests(), []
    with tempfile.TemporaryDirectory() as folder, open(a.record, "w") as out:
        loader = os.path.join(folder, "grpcload")
        subprocess.run(["go", "build", "-o", loader, "./baselines/grpcload"], cwd=common.ROOT, env=dict(os.environ, CGO_ENABLED="0"), check=True)
        try:
            for server in start(a):
                servers.append(server)
            for server in servers:
                for shape, request in bodies.items():
                    check(server, shape, request.of(server, shape))
                grpc(server, 8, 1, a.client_cores, loader)  # warms up; so does the first round's order for the rest
            manifest = {"record": "null-vs-triton", "version": 1, **machine(), "triton": "2.51.0", "rounds": a.rounds, "seconds": a.seconds,
                        "server_cores": a.server_cores, "client_cores": a.client_cores, "max_batch": 32, "queue_delay_us": 0,
                        "body_bytes": {k: len(r.body) for k, r in bodies.items()}}
            out.write(json.dumps(manifest) + "\n")
            for labels, server, model, run in runs(a, servers, bodies, folder, loader):
                line = json.dumps({**labels, **measure(server, model, run)})
                out.write(line + "\n")
                out.flush()
                print(line, file=sys.stderr)
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
