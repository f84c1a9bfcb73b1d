"""Measures Vitrine's service from outside: the null engine's requests a second, where a JPEG request's
time goes, start-up, and the whole service against FastAPI with PyTorch, in turns.

Needs Go, wrk (Debian's package), and baselines/requirements.txt in this Python. Everything runs on
loopback of one machine, client included.

    python baselines/measure_service.py --record docs/records/service.jsonl
"""
import argparse
import atexit
import base64
import datetime
import http.client
import io
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seconds", type=int, default=5, help="of each load run; three times as long where a model computes")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--record", help="JSON Lines file to append to")
args = parser.parse_args()
records = []


def keep(**fields):
    records.append(fields)
    print(json.dumps(fields), file=sys.stderr)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


class Server:
    """A process that answers GET path on port with 200 once it is ready."""

    def __init__(self, command, port, path, environment=None):
        self.port = port
        started = time.perf_counter()
        self.process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, cwd=HERE,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)  # none outlives a run that fails
        while time.perf_counter() - started < 180:
            try:
                if ask(port, "GET", path)[0] == 200:
                    self.ready = time.perf_counter() - started
                    return
            except OSError:
                pass
            time.sleep(0.002)
        raise SystemExit(f"{command} did not become ready")

    def settle(self):
        """Waits until the process is idle: some servers go on with requests whose clients have left."""
        before = -1
        while (now := sum(map(int, open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))) > before + 2:
            before = now
            time.sleep(0.5)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def vitrine(*flags):
    port = free_port()
    return Server([binary, "serve", "--http", f"127.0.0.1:{port}", "--metrics", "off", "--grpc", "off", "--access-log=false", *flags], port, "/readyz")


def photograph(size, quality):
    image = Image.open(os.path.join(ROOT, "testdata/photos/astronaut.jpg")).convert("RGB").resize(size, Image.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def wrk(port, path, body, content_type, accept, clients, seconds=args.seconds):
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        environment = {**os.environ, "BODY": file.name, "CONTENT_TYPE": content_type, "ACCEPT": accept}
        out = subprocess.run(["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", os.path.join(HERE, "post.lua"),
                              f"http://127.0.0.1:{port}{path}"], env=environment, capture_output=True, text=True, check=True).stdout
    result = json.loads(re.search(r"RESULT (.*)", out).group(1))
    if result["errors"]:
        raise SystemExit(f"{path} at {clients} clients: {result['errors']} of {result['requests']} requests failed")
    result["per_second"] = round(result["requests"] / result["seconds"], 1)
    return result


def null_engine(jpeg):
    b64 = json.dumps({"images": [base64.b64encode(jpeg).decode()], "model_name": "ViT-B-32", "pretrained": "openai"}).encode()
    shapes = {"raw JPEG, JSON back": ("/embed", jpeg, "image/jpeg", "application/json"),
              "raw JPEG, binary back": ("/embed", jpeg, "image/jpeg", "application/octet-stream"),
              "base64 JPEG, JSON back": ("/embed/base64", b64, "application/json", "application/json")}
    server = vitrine("--engine", "null")
    for round_ in range(args.rounds):
        for clients in (1, 8, 32, 128):
            for name, (path, body, kind, accept) in shapes.items():
                keep(measure="null engine", shape=name, clients=clients, round=round_, **wrk(server.port, path, body, kind, accept, clients))
    server.stop()


def breakdown(jpegs):
    server = vitrine("--model", "synthetic")
    for name, jpeg in jpegs.items():
        stages, totals = {}, []
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for i in range(70):
            start = time.perf_counter()
            connection.request("POST", "/embed", jpeg, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            if i < 10:
                continue
            totals.append((time.perf_counter() - start) * 1e3)
            for stage, ms in re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"]):
                stages.setdefault(stage, []).append(float(ms))
        keep(measure="breakdown", image=name, bytes=len(jpeg), client_ms=round(statistics.median(totals), 3), n=len(totals),
             stages_ms={k: round(statistics.median(v), 3) for k, v in stages.items()})
    server.stop()


def start_up(jpeg, folder):
    cases = {"ViT-B/32 from safetensors, bf16": ("--model", folder), "ViT-B/32 synthetic, bf16": ("--model", "synthetic"),
             "null engine": ("--engine", "null")}
    for round_ in range(2 * args.rounds + 1):
        for name, flags in cases.items():
            started = time.perf_counter()
            server = vitrine(*flags)
            status, _, _ = ask(server.port, "POST", "/embed", jpeg, {"Content-Type": "image/jpeg"})
            keep(measure="start-up", case=name, round=round_, status=status, exec_to_first_answer_s=round(time.perf_counter() - started, 4))
            server.stop()


def against_fastapi(jpeg, folder):
    body = json.dumps({"images": [base64.b64encode(jpeg).decode()], "model_name": "ViT-B-32", "pretrained": "openai"}).encode()
    port = free_port()
    settings = dict(weights=folder, device="cpu", precision="fp32", threads=os.cpu_count(), runtime="torch", as_reference=False)
    fastapi = Server([sys.executable, "-m", "uvicorn", "service:app", "--app-dir", os.path.join(HERE, "fastapi"), "--port", str(port),
                      "--log-level", "error"], port, "/health", {"SETTINGS": json.dumps(settings)})
    servers = {"FastAPI + PyTorch fp32": fastapi, "Vitrine fp32": vitrine("--model", folder, "--pretrained", "openai", "--precision", "fp32"),
               "Vitrine bf16": vitrine("--model", folder, "--pretrained", "openai", "--precision", "bf16")}
    for name, server in servers.items():
        keep(measure="service start", server=name, ready_s=round(server.ready, 3))
    for round_ in range(args.rounds):
        for clients in (1, 8, 32):
            for name, server in servers.items():
                keep(measure="service", server=name, clients=clients, round=round_,
                     **wrk(server.port, "/embed/base64", body, "application/json", "application/json", clients, 3 * args.seconds))
                server.settle()
    for server in servers.values():
        server.stop()


with tempfile.TemporaryDirectory() as folder:
    binary = os.path.join(folder, "vitrine")
    subprocess.run(["go", "build", "-o", binary, "./cmd/vitrine"], cwd=ROOT, env=dict(os.environ, CGO_ENABLED="0"), check=True)
    weights = os.path.join(folder, "weights")
    subprocess.run([binary, "model", "export", "synthetic", "--format", "safetensors", "--output", weights], check=True, stdout=subprocess.DEVNULL)
    small, large = photograph((224, 224), 90), photograph((640, 480), 90)
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read()).group(1)
    keep(record="service", version=1, time=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), cpu=cpu,
         cores=os.cpu_count(), load=os.getloadavg(), python=platform.python_version(), seconds=args.seconds, rounds=args.rounds,
         commit=subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip())
    start_up(small, weights)
    breakdown({"224x224": small, "640x480": large})
    null_engine(small)
    against_fastapi(small, weights)

if args.record:
    with open(args.record, "a") as out:
        for fields in records:
            out.write(json.dumps(fields) + "\n")

groups = {}
for r in records:
    if "per_second" in r:
        groups.setdefault((r["measure"], r.get("shape") or r["server"], r["clients"]), []).append(r)
print("| measure | what | clients | requests/s | p50 ms | p99 ms | errors |\n|---|---|---|---|---|---|---|")
for (measure, what, clients), rows in sorted(groups.items(), key=lambda g: (g[0][0], g[0][2], g[0][1])):
    median = lambda key: statistics.median(r[key] for r in rows)
    print(f"| {measure} | {what} | {clients} | {median('per_second'):.1f} | {median('p50_ms'):.2f} | {median('p99_ms'):.2f} | {sum(r['errors'] for r in rows)} |")
for case in dict.fromkeys(r["case"] for r in records if r.get("measure") == "start-up"):
    values = [r["exec_to_first_answer_s"] for r in records if r.get("case") == case]
    print(f"start-up, {case}: median {statistics.median(values):.3f} s, best {min(values):.3f} s, n {len(values)}")
for r in records:
    if r.get("measure") == "breakdown":
        print(f"breakdown {r['image']} ({r['bytes']} bytes): client {r['client_ms']} ms; {r['stages_ms']}")
