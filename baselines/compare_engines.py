"""Times CPU engines against each other: same weights, pixels and cores, one batch each in turn.

Each round runs every engine once, in an order shuffled per round, so that a slow spell of a shared
machine hits all alike. A ratio is the median over rounds of (other / vitrine) within the round, with a
95 % bootstrap interval. Before timing, embeddings are compared with PyTorch's in float32.
"""
import argparse
import datetime
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import common

HERE = os.path.dirname(os.path.abspath(__file__))
CONTRACT = {"fp32": 0.99999, "bf16": 0.9999}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--pause", type=float, default=0.05, help="seconds between batches, so that spinning threads come to rest")
parser.add_argument("--engines", nargs="+", default=["vitrine-fp32", "onnxruntime-fp32", "openvino-fp32", "torch-fp32",
                                                     "vitrine-bf16", "openvino-bf16", "torch-bf16"])
parser.add_argument("--record", help="JSON Lines file to append to")
args = parser.parse_args()


def versions():
    from importlib.metadata import version

    found = {p: version(p) for p in ("torch", "onnxruntime", "openvino", "numpy")}
    found["vitrine"] = common.revision()
    return found


class Worker:
    def __init__(self, name, folder, binary):
        command = [binary, "--precision", name.split("-")[1], "--model", folder, "--threads", str(args.threads)] \
            if name.startswith("vitrine") else [sys.executable, os.path.join(HERE, "engine_worker.py"), name, folder, str(args.threads)]
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{name} did not start")
        self.load = time.perf_counter() - started

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a worker died")
        return float(answer)


def cosines(workers, folder):
    answers = {}
    for name, worker in workers.items():
        path = os.path.join(folder, name + ".npy")
        worker.ask(f"embed 4 {path}")
        answers[name] = np.load(path).astype(np.float64)
    want = answers["torch-fp32"]
    result = {}
    for name, got in answers.items():
        c = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
        result[name] = float(c.min())
        if c.min() < CONTRACT[name.split("-")[1]] and name.startswith("vitrine"):
            raise SystemExit(f"{name}: cosine {c.min():.7f} misses its contract")
    return result


with tempfile.TemporaryDirectory() as folder:
    binary = os.path.join(folder, "engineworker")
    environment = dict(os.environ, CGO_ENABLED="0")
    subprocess.run(["go", "build", "-o", binary, "./engineworker"], cwd=HERE, env=environment, check=True)
    subprocess.run([binary, "--export", folder], check=True)
    Worker("export-onnx", folder, binary).process.terminate()
    workers = {name: Worker(name, folder, binary) for name in args.engines}
    similarity = cosines(workers, folder)
    times = {(name, b): [] for name in args.engines for b in args.batch}
    for batch in args.batch:
        for name in args.engines:
            for _ in range(2):
                workers[name].ask(str(batch))
        for round_ in range(args.rounds):
            for name in random.Random(round_).sample(args.engines, len(args.engines)):
                time.sleep(args.pause)
                times[name, batch].append(workers[name].ask(str(batch)))
            print(f"\rbatch {batch}: round {round_ + 1}/{args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for worker in workers.values():
        worker.process.terminate()

cpu, features = common.cpu_name()
manifest = {"record": "cpu-engines", "version": 1, "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "cpu": cpu, "features": features, "threads": args.threads, "versions": versions(), "rounds": args.rounds,
            "cosine_min_vs_torch_fp32": similarity, "load_seconds": {n: round(w.load, 2) for n, w in workers.items()}}
if args.record:
    with open(args.record, "a") as out:
        out.write(json.dumps(manifest) + "\n")
        for (name, batch), values in times.items():
            out.write(json.dumps({"engine": name, "batch": batch, "ms": [round(v, 3) for v in values]}) + "\n")

print(f"{cpu}, {args.threads} threads, {' '.join(features)}; {args.rounds} rounds")
print("| engine | batch | median ms | best ms | img/s | time / Vitrine's, same precision (95 %) | cosine |\n|---|---|---|---|---|---|---|")
for batch in args.batch:
    for name in args.engines:
        values, own = times[name, batch], times.get(("vitrine-" + name.split("-")[1], batch))
        ratio = "" if name.startswith("vitrine") or not own else "{:.2f} ({:.2f}-{:.2f})".format(*common.interval([a / b for a, b in zip(values, own)]))
        median = statistics.median(values)
        print(f"| {name} | {batch} | {median:.1f} | {min(values):.1f} | {batch / median * 1e3:.1f} | {ratio} | {similarity[name]:.6f} |")
