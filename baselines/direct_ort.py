#!/usr/bin/env python3
"""What Vitrine costs around ONNX Runtime: its engine against the same library called from Python, in turn.

Vitrine's engine runs in a process of its own (ortworker) and says how its sessions are made; the session here
is made of the same file with the same options, bound to memory of the same kind (IoBinding), with a CUDA
graph where Vitrine has one. Each round times both sides on each batch, in an order shuffled per round: the
median of --runs runs. A ratio is the median over rounds of (Vitrine / direct) within the round, with a 95 %
bootstrap interval. Embeddings of both sides are compared before anything is timed.

    staged   inputs lie where they are computed, on both sides; embeddings are brought back to the host
    host     inputs are float32 in the host's memory, on both sides
    overlap  Vitrine alone, two batches at a time: a batch's copy goes on while the other is computed. Its ratio
             is to the direct call with staged inputs: what remains of the copy

    direct_ort.py --provider cpu
    direct_ort.py --provider cuda --precision fp16 --cuda-graph --record docs/records/direct-ort.jsonl
"""
import argparse
import datetime
import glob
import json
import os
import random
import statistics
import subprocess
import sys
import time

import numpy as np

import common
from pixels import planes

CONTRACT = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.9999}  # cosine of the two sides: one library, so it is met by far


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--provider", choices=("cpu", "openvino", "cuda", "tensorrt"), default="cpu")
    p.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto")
    p.add_argument("--cuda-graph", action="store_true")
    p.add_argument("--model", default="synthetic", help="weights as vitrine takes them, or an ONNX file")
    p.add_argument("--library", dest="runtime", metavar="FILE", help="ONNX Runtime's file (default: that of the package onnxruntime here)")
    p.add_argument("--cache", help="folder of exported models and built engines (default: vitrine's)")
    p.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the provider, on both sides; again for more")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    p.add_argument("--mode", nargs="+", choices=("staged", "host", "overlap"), default=["staged", "host", "overlap"])
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--runs", type=int, default=0, help="of each side in a round (default: as many as take about a fifth of a second)")
    p.add_argument("--pause", type=float, default=0.05, help="seconds between the sides, so that spinning threads come to rest")
    p.add_argument("--record", help="JSON Lines file to append to")
    return p.parse_args()


def library():
    import onnxruntime

    found = glob.glob(os.path.join(os.path.dirname(onnxruntime.__file__), "capi", "libonnxruntime.so.*"))
    if not found:
        raise SystemExit("the package onnxruntime has no libonnxruntime.so: name one with --library")
    return sorted(found)[-1]


class Vitrine:
    """Vitrine's engine in its worker."""

    def __init__(self, a):
        command = [common.worker("ortworker", "VITRINE_ORTWORKER"), "-provider", a.provider, "-precision", a.precision, "-model", a.model,
                   "-library", a.runtime or library(), "-threads", str(a.threads), "-max-batch", str(max(a.batch))]
        command += ["-cuda-graph"] if a.cuda_graph else []
        command += ["-cache", a.cache] if a.cache else []
        for option in a.option:
            command += ["-option", option]
        began = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.setup = self.answer()
        self.load = time.perf_counter() - began

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"Vitrine's worker ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, mode, batch, runs=0):
        self.process.stdin.write(json.dumps({"mode": mode, "batch": batch, "runs": runs}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def time(self, mode, batch, runs):
        return self.ask(mode, batch, runs)

    def embed(self, batch):
        return np.array(self.ask("embed", batch), np.float64)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Direct:
    """The library called from Python, with sessions made as Vitrine says."""

    def __init__(self, setup):
        import onnxruntime

        self.ort, self.setup = onnxruntime, setup
        self.device = "cuda" if setup["provider"] in ("CUDAExecutionProvider", "TensorrtExecutionProvider") else "cpu"
        if self.device == "cuda":
            onnxruntime.preload_dlls()
        began = time.perf_counter()
        self.sessions = [(s["batches"], self.session(s)) for s in setup["sessions"]]
        self.bound = {}
        self.load = time.perf_counter() - began

    def session(self, s):
        setup, options = self.setup, self.ort.SessionOptions()
        options.intra_op_num_threads = setup["threads"]
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if setup["spinning"] else "0")
        providers = [(setup["provider"], s["settings"])]
        if setup["provider"] == "CPUExecutionProvider":
            providers = [setup["provider"]]
            for key, value in s["settings"].items():
                options.add_session_config_entry(key, value)
        if s["rest"]:
            providers.append(("CUDAExecutionProvider", s["rest"]))
        made = self.ort.InferenceSession(setup["model"], options, providers=providers)
        if setup["provider"] not in made.get_providers():  # it falls back to the processor by itself, which would be measured unnoticed
            raise SystemExit(f"{setup['provider']} is not available: {made.get_providers()}")
        return made

    def bind(self, batch):
        """The session of a batch with its input and output bound, made once."""
        if batch not in self.bound:
            session = next(s for sizes, s in self.sessions if not sizes or batch in sizes)
            kinds = [np.float16 if half else np.float32 for half in self.setup["half"]]
            images = planes(batch, self.setup["Side"]).astype(kinds[0])
            make = self.ort.OrtValue
            x = make.ortvalue_from_numpy(images, self.device, self.setup["device"])
            y = make.ortvalue_from_shape_and_type([batch, self.setup["Dim"]], kinds[1], self.device, self.setup["device"])
            binding = session.io_binding()
            binding.bind_ortvalue_input(self.setup["input"], x)
            binding.bind_ortvalue_output(self.setup["output"], y)
            options = self.ort.RunOptions()
            if self.setup["cuda_graphs"] and self.setup["provider"] == "CUDAExecutionProvider":
                options.add_run_config_entry("gpu_graph_id", str(batch))
            self.bound[batch] = (session, binding, options, images, x, y)
            for _ in range(3):  # plans, allocates, captures
                session.run_with_iobinding(binding, options)
        return self.bound[batch]

    def runner(self, mode, batch):
        session, binding, options, images, x, y = self.bind(batch)

        def staged():
            session.run_with_iobinding(binding, options)
            return y.numpy()

        def host():
            x.update_inplace(images)
            return staged()

        def plain():
            return session.run([self.setup["output"]], {self.setup["input"]: images})[0]

        if mode == "staged":
            return staged
        return host if self.device == "cuda" else plain

    def time(self, mode, batch, runs):
        run, times = self.runner(mode, batch), []
        run()
        for _ in range(runs):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def embed(self, batch):
        return np.asarray(self.runner("staged", batch)(), np.float64)


def check(a, vitrine, direct):
    """The smallest cosine of the two sides' embeddings."""
    n = min(4, max(a.batch))
    got, want = vitrine.embed(n), direct.embed(n)
    c = float(((got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)).min())
    if not c >= CONTRACT[vitrine.setup["Spec"]["Precision"]]:
        raise SystemExit(f"the two sides compute something else: cosine {c:.7f}")
    return c


def runs_of(a, direct, batch):
    if a.runs:
        return a.runs
    return max(3, min(200, int(200 / max(statistics.median(direct.time("staged", batch, 3)), 0.01))))


def measure(a, vitrine, direct):
    """Each round's runs: {(side, mode, batch): [[ms, ...], ...]}."""
    cells = [("vitrine", m, b) for m in a.mode for b in a.batch] + [("direct", m, b) for m in a.mode for b in a.batch if m != "overlap"]
    if "overlap" in a.mode and "staged" not in a.mode:
        cells += [("direct", "staged", b) for b in a.batch]
    times, runs = {c: [] for c in cells}, {b: runs_of(a, direct, b) for b in a.batch}
    for round_ in range(a.rounds):
        order = random.Random(round_).sample(a.batch, len(a.batch))
        for batch in order:
            for side, mode, _ in random.Random(round_ * 1000 + batch).sample([c for c in cells if c[2] == batch], len(cells) // len(a.batch)):
                time.sleep(a.pause)
                times[side, mode, batch].append((vitrine if side == "vitrine" else direct).time(mode, batch, runs[batch]))
        print(f"\rround {round_ + 1}/{a.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return times


def machine():
    smi = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False) \
        if common.shutil.which("nvidia-smi") else None
    cpu, features = common.cpu_name()
    return {"cpu": cpu, "features": features, "cores": os.cpu_count(), "gpus": smi.stdout.strip().splitlines() if smi else []}


def record(a, vitrine, direct, cosine, times):
    setup = dict(vitrine.setup, library=os.path.basename(vitrine.setup["library"]), model=os.path.basename(vitrine.setup["model"]))
    for s in setup["sessions"]:  # a record names no machine's folders
        s["settings"] = {k: os.path.basename(v) if v.startswith("/") else v for k, v in s["settings"].items()}
    manifest = {"record": "direct-ort", "version": 1, "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), **machine(),
                "provider": a.provider, "vitrine": common.revision(), "onnxruntime": direct.ort.__version__, "numpy": np.__version__, "setup": setup,
                "rounds": a.rounds, "cosine_min": cosine, "load_seconds": {"vitrine": round(vitrine.load, 2), "direct": round(direct.load, 2)}}
    with open(a.record, "a") as out:
        out.write(json.dumps(manifest) + "\n")
        for (side, mode, batch), rounds in times.items():
            out.write(json.dumps({"side": side, "mode": mode, "batch": batch, "ms": [[round(v, 4) for v in r] for r in rounds]}) + "\n")


def table(a, vitrine, times, cosine):
    s = vitrine.setup
    graphs = ", CUDA graphs" if s["cuda_graphs"] else ""
    print(f"ONNX Runtime {s['release']}, {s['provider']} {s['Spec']['Precision']}{graphs}; {a.rounds} rounds; cosine of the two sides {cosine:.7f}")
    print("| inputs | batch | direct, ms | Vitrine, ms | Vitrine, img/s | Vitrine / direct (95 %) |\n|---|---|---|---|---|---|")
    for mode in a.mode:
        for batch in a.batch:
            against = "staged" if mode == "overlap" else mode
            ours = [statistics.median(r) for r in times["vitrine", mode, batch]]
            theirs = [statistics.median(r) for r in times["direct", against, batch]]
            ratio, low, high = common.interval([o / t for o, t in zip(ours, theirs)])
            ms = statistics.median(ours)
            print(f"| {mode} | {batch} | {statistics.median(theirs):.3f} | {ms:.3f} | {batch / ms * 1e3:,.0f} | {ratio:.3f} ({low:.3f}-{high:.3f}) |")


def main():
    a = arguments()
    vitrine = Vitrine(a)
    try:
        planned = vitrine.setup["Spec"]["Batches"] or a.batch
        if other := [b for b in a.batch if b not in planned]:
            raise SystemExit(f"batches {other} are not planned: {planned}")
        direct = Direct(vitrine.setup)
        cosine = check(a, vitrine, direct)
        times = measure(a, vitrine, direct)
    finally:
        vitrine.close()
    if a.record:
        record(a, vitrine, direct, cosine, times)
    table(a, vitrine, times, cosine)


if __name__ == "__main__":
    main()
