#!/usr/bin/env python3
"""Do three load generators see the same server? `vitrine bench concurrency`, NVIDIA's perf_analyzer and a plain Python client.

Two server-bound loads of --clients closed-loop clients, float32 tensors in the Open Inference Protocol, over HTTP (binary) and over
gRPC: `vitrine serve --engine cpu`, which computes and so swings with whatever else the machine's host does, and `vitrine serve --engine
null --null-latency 20ms --max-batch-size 1`, which takes 20 ms for each image and leaves the processors idle, so that the tools
alone make the difference. The three take turns in every round, the first of them rotating; each round's throughput and median latency
are divided by Vitrine's laboratory's in the same round. Then a server that stalls for a second is measured in an open and in a closed
loop, which shows coordinated omission.

    baselines/agree.py --record docs/records/agree.jsonl      # about seven minutes
    baselines/method_tables.py                                # writes the tables into docs/method.md

Needs Go (or $VITRINE), and perf_analyzer's download on the first run. Python's gRPC client is measured where this interpreter has
tritonclient.grpc and numpy. Nothing else may run on the machine.
"""
import argparse
import csv
import datetime
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import common

MODEL = "openclip_vit_b32"
TENSOR = 3 * 224 * 224 * 4
SERVER_FLAGS = ["--model", "synthetic", "--access-log=false"]
SERVERS = {"20 ms an image": ["--engine", "null", "--null-latency", "20ms", "--max-batch-size", "1"], "CPU engine": ["--engine", "cpu"]}


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


class Server:
    """A process and its ports; ready once GET path answers 200."""

    def __init__(self, command, port, path):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + 120
        while not self.answers(port, path):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                self.log.seek(0)
                raise SystemExit(f"{command[0]} did not become ready:\n{self.log.read()}")
            time.sleep(0.05)

    @staticmethod
    def answers(port, path):
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            c.request("GET", path)
            return c.getresponse().status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def laboratory(a, protocol, ports):
    """Vitrine's own: throughput and median from its record."""
    url, form = (f"http://127.0.0.1:{ports[0]}", "oip-binary") if protocol == "HTTP" else (f"127.0.0.1:{ports[1]}", "oip-grpc")
    run, = measured([a.vitrine, "bench", "concurrency", "--target", url, "--format", form, "--served-model", MODEL, "--metrics-url", "off",
                     "--concurrency", str(a.clients), "--duration", f"{a.seconds}s", "--warmup", str(a.clients)])
    return run


def measured(command):
    """Runs the laboratory and sums up the record's cells; a cell that is not ok ends the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.jsonl")
        done = subprocess.run([*command, "--quiet", "--out", path], capture_output=True, text=True)
        if not os.path.exists(path):
            raise SystemExit(f"{' '.join(command[1:])}: {done.stderr}")
        lines = [json.loads(line) for line in open(path)]
    cells = {l["id"]: [] for l in lines if l["kind"] == "cell"}
    ends = {l["cell"]: l for l in lines if l["kind"] == "cell_end"}
    for l in lines:
        if l["kind"] == "requests":
            cells[l["cell"]] += rows(l)
    for cell, requests in cells.items():
        good = [r for r in requests if not r["error"] and not r["warmup"]]
        if not good:
            raise SystemExit(f"{' '.join(command[1:])}: {ends[cell]}")
        due = [r["sent"] + r["done"] for r in good]
        yield {"requests": len(good), "per_second": len(good) / ends[cell]["elapsed_ns"] * 1e9, "status": ends[cell]["status"],
               "reasons": ends[cell].get("reasons", []), **summary([x / 1e6 for x in due]),
               "from_sending": summary([r["done"] / 1e6 for r in good]),
               "over_half_a_second": sum(x >= 5e8 for x in due)}


def rows(block):
    """A block of columns as requests; docs/records.md has the format."""
    def column(name):
        v = block.get(name, 0)
        return v if isinstance(v, list) else [v] * block["n"]
    names = ("sent", "done", "error", "warmup")
    return [dict(zip(names, r)) for r in zip(*map(column, names))]


def summary(ms):
    ordered = sorted(ms)
    return {"p50_ms": statistics.median(ordered), "p99_ms": ordered[int(0.99 * (len(ordered) - 1))], "max_ms": ordered[-1]}


def perf_analyzer(a, protocol, ports):
    """NVIDIA's tool takes three windows at the least; they share the time that the others measure."""
    address = ["-i", "http", "-u", f"127.0.0.1:{ports[0]}"] if protocol == "HTTP" else ["-i", "grpc", "-u", f"127.0.0.1:{ports[1]}"]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.csv")
        done = subprocess.run([os.path.join(common.HERE, "perf_analyzer.sh"), "-m", MODEL, *address, "--shape", "image:3,224,224", "-b", "1",
                               "--concurrency-range", str(a.clients), "--percentile", "50", "-p", str(int(a.seconds * 1000 / 3)),
                               "-r", "3", "-s", "999", "-f", out], capture_output=True, text=True)
        if done.returncode or not os.path.exists(out):
            raise SystemExit(f"perf_analyzer: {done.stdout}\n{done.stderr}")
        row = next(csv.DictReader(open(out)))
    return {"per_second": float(row["Inferences/Second"]), "p50_ms": float(row["p50 latency"]) / 1e3}


def http_client(ports):
    """The plain client of a Python user: http.client over one connection."""
    head = json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 224, 224], "parameters": {"binary_data_size": TENSOR}}],
                       "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]}).encode()
    body = head + bytes(TENSOR)
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    c = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
    c.connect()
    c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send():
        c.request("POST", f"/v2/models/{MODEL}/infer", body, headers)
        answer = c.getresponse()
        if answer.read() is None or answer.status != 200:
            raise SystemExit(f"HTTP {answer.status}")
    return send


def grpc_client(ports):
    import numpy
    import tritonclient.grpc as triton
    client = triton.InferenceServerClient(f"127.0.0.1:{ports[1]}")
    tensor = triton.InferInput("image", [1, 3, 224, 224], "FP32")
    tensor.set_data_from_numpy(numpy.zeros((1, 3, 224, 224), numpy.float32))
    outputs = [triton.InferRequestedOutput("embedding")]
    return lambda: client.infer(MODEL, [tensor], outputs=outputs)


def python_client(a, protocol, ports):
    """A thread a client; each sends as soon as it has its answer."""
    sends = [(http_client if protocol == "HTTP" else grpc_client)(ports) for _ in range(a.clients)]
    latencies, ended, failed = [[] for _ in sends], [0.0] * len(sends), []
    for send in sends:
        send()  # warm-up
    began = time.perf_counter()

    def loop(i):
        try:
            while (sent := time.perf_counter()) < began + a.seconds:
                sends[i]()
                ended[i] = time.perf_counter()
                latencies[i].append((ended[i] - sent) * 1e3)
        except BaseException as e:  # a thread's failure is the run's
            failed.append(e)
    threads = [threading.Thread(target=loop, args=(i,)) for i in range(len(sends))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]
    every = [x for one in latencies for x in one]
    return {"requests": len(every), "per_second": len(every) / (max(ended) - began), **summary(every)}


def has_grpc():
    try:
        import numpy  # noqa: F401
        import tritonclient.grpc  # noqa: F401
        return True
    except ImportError:
        common.say("agree: this Python has no tritonclient.grpc, so its gRPC client is left out")
        return False


TOOLS = {"vitrine bench": laboratory, "perf_analyzer": perf_analyzer, "Python": python_client}


def compare(a, keep):
    skipped = set() if has_grpc() else {("gRPC", "Python")}
    for name, flags in SERVERS.items():
        ports = free_ports(2)
        server = Server([a.vitrine, "serve", *SERVER_FLAGS, *flags, "--http", f"127.0.0.1:{ports[0]}", "--grpc", f"127.0.0.1:{ports[1]}", "--metrics", "off"],
                        ports[0], "/readyz")
        try:
            for round_ in range(a.rounds):
                for protocol in a.protocols:
                    tools = list(TOOLS)[round_ % 3:] + list(TOOLS)[:round_ % 3]
                    for tool in tools:
                        if (protocol, tool) not in skipped:
                            keep(measure="agreement", server=name, round=round_, protocol=protocol, tool=tool, **TOOLS[tool](a, protocol, ports))
        finally:
            server.stop()


def stall(a, keep):
    """One second in which the echo server answers nobody, four seconds into the load."""
    for loop, flags in (("open", ["rate", "--rate", "100", "--arrival", "constant"]), ("closed", ["single", "--requests", "1000000"])):
        port, = free_ports(1)
        with tempfile.TemporaryDirectory() as folder:
            echo = os.path.join(folder, "echo")
            subprocess.run(["go", "build", "-o", echo, "./baselines/echo"], cwd=common.ROOT, env=dict(os.environ, CGO_ENABLED="0"), check=True)
            server = Server([echo, "-listen", f"127.0.0.1:{port}", "-stall", "1s", "-after", "4s"], port, "/")
            try:
                run, = measured([a.vitrine, "bench", *flags, "--target", f"http://127.0.0.1:{port}", "--metrics-url", "off", "--duration", f"{a.stall_seconds}s"])
            finally:
                server.stop()
        keep(measure="stall", loop=loop, **run)


def manifest(a):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=common.ROOT, capture_output=True, text=True).stdout.strip()
    return {"measure": "manifest", "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit, "cpu": cpu,
            "cores": os.cpu_count(), "load": os.getloadavg(), "clients": a.clients, "seconds": a.seconds, "rounds": a.rounds,
            "stall_seconds": a.stall_seconds, "servers": {name: ["vitrine", "serve", *SERVER_FLAGS, *flags] for name, flags in SERVERS.items()}}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clients", type=int, default=4)
    p.add_argument("--seconds", type=float, default=5, help="of each measurement (default 5)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--stall-seconds", type=float, default=10, help="of each of the two measurements of a stalling server")
    p.add_argument("--protocols", nargs="+", choices=("HTTP", "gRPC"), default=["HTTP", "gRPC"])
    p.add_argument("--record", help="JSON Lines file to write; tables are printed in any case")
    a = p.parse_args()
    a.vitrine = os.path.abspath(common.vitrine())
    subprocess.run([os.path.join(common.HERE, "perf_analyzer.sh"), "--version"], check=True, stdout=sys.stderr)  # its download is no part of a round
    records = [manifest(a)]

    def keep(**fields):
        records.append(fields)
        common.say(json.dumps(fields))
    compare(a, keep)
    stall(a, keep)
    if a.record:
        with open(a.record, "w") as out:
            out.writelines(json.dumps(r) + "\n" for r in records)
    import method_tables
    print(method_tables.agreement(records))
    print(method_tables.stall(records))


if __name__ == "__main__":
    main()
