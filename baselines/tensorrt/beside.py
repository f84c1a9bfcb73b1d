#!/usr/bin/env python3
"""Times TensorRT and Vitrine's engine in turn on one card: same weights, same pixels, fp16, one batch each after the other.

Three ways: `device`, inputs on the device, a launch and a wait each (what one request sees); `stream`, the same without
waiting in between (what the card can do); `host`, from pinned memory to floats in pinned memory, copies included. TensorRT
has one engine a batch size, built for that size alone, and each run is one CUDA graph. Its inputs are normalised float16
tensors (`tensorrt`), or with --u8 the pixels that Vitrine takes, normalised by a Cast and two more nodes in front of the
model (`tensorrt-u8`); Vitrine's are pixels in any case.

Each round runs every engine, in an order that changes from round to round, so that a card that heats up hits all alike. A
ratio is the median over rounds of (other / Vitrine) within the round, with a 95 % bootstrap interval. Before anything is
timed the embeddings are compared.

--table RECORD prints a record's table and measures nothing.
"""
import argparse
import contextlib
import ctypes
import datetime
import json
import os
import random
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--vitrine", default="vitrine", help="the binary, which exports the model")
parser.add_argument("--worker", default="cuda.test", help="`go test -c ./internal/engine/cuda`")
parser.add_argument("--folder", default="tensorrt-engines", help="where the model, engines and the timing cache are kept")
parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 128, 512])
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--slice", type=float, default=0.1, help="seconds that an engine runs in a round")
parser.add_argument("--u8", action="store_true", help="TensorRT from pixels too")
parser.add_argument("--build-seconds", type=float, default=330, help="begin to build no further engine after so long; a second call goes on")
parser.add_argument("--record", help="JSON Lines file to write")
parser.add_argument("--table", metavar="RECORD", help="print the table of a record and exit")

SIZE, DIM, IMAGES = 224, 512, 16  # of ViT-B/32; different images, which larger batches repeat
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
FLOOR = 0.999  # of the cosine: below it one of them computes something else
MODEL = ["synthetic:ViT-B-32-quickgelu", "--synthetic-seed", "1"]  # what the worker computes with


# Figures.

def interval(ratios):
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[1949]


def read_record(path):
    with open(path) as lines:
        entries = [json.loads(line) for line in lines if line.strip()]
    manifest = next(e for e in entries if e["kind"] == "manifest")
    times = {(e["way"], e["batch"], e["engine"]): e["us"] for e in entries if e["kind"] == "times"}
    return manifest, times


TITLES = {"device": "inputs on the device, launch and wait", "stream": "inputs on the device, one after the other without waiting",
          "host": "from pinned host memory to floats there"}


def table(manifest, times):
    """The record as Markdown. Times are medians over rounds of each round's median."""
    out = [f"{manifest['card']}, driver {manifest['driver']}, TensorRT {manifest['tensorrt']}, fp16, {manifest['rounds']} rounds in turn; "
           f"cosine of the two engines' embeddings at least {manifest['cosine_min']:.6f}.", ""]
    others = sorted({engine for _, _, engine in times} - {"vitrine"})
    for way, title in TITLES.items():
        batches = sorted({batch for w, batch, _ in times if w == way})
        if not batches:
            continue
        out += ["", f"**{title[0].upper()}{title[1:]}**", "", "| batch | Vitrine µs | img/s |" + "".join(f" {o} µs | img/s | {o} / Vitrine (95 %) |" for o in others),
                "|---|---|---|" + "---|---|---|" * len(others)]
        for batch in batches:
            own = times[way, batch, "vitrine"]
            median = statistics.median(own)
            row = f"| {batch} | {median:,.1f} | {batch / median * 1e6:,.0f} |"
            for other in others:
                values = times.get((way, batch, other))
                if values is None:
                    row += " - | - | - |"
                    continue
                ratio, low, high = interval([a / b for a, b in zip(values, own)])
                m = statistics.median(values)
                row += f" {m:,.1f} | {batch / m * 1e6:,.0f} | {ratio:.2f} ({low:.2f}-{high:.2f}) |"
            out.append(row)
    return "\n".join(out)


# The model.

def export(vitrine, folder):
    path = os.path.join(folder, "model.onnx")
    if not os.path.exists(path):
        temporary = os.path.join(folder, "export.onnx")
        subprocess.run([vitrine, "model", "export", *MODEL, "--format", "onnx", "--output", temporary], check=True)
        os.rename(temporary, path)
    return path


def from_pixels(path):
    """Writes the model behind what makes normalised tensors of pixels: uint8 [n, 224, 224, 3]."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    out = path.replace(".onnx", "-u8.onnx")
    if os.path.exists(out):
        return out
    model = onnx.load(path)
    graph = model.graph
    name = graph.input[0].name
    scale = np.array([1 / (255 * s) for s in STD], np.float32).reshape(1, 3, 1, 1)
    shift = np.array([-m / s for m, s in zip(MEAN, STD)], np.float32).reshape(1, 3, 1, 1)
    graph.initializer.extend([numpy_helper.from_array(scale, "pixel_scale"), numpy_helper.from_array(shift, "pixel_shift")])
    nodes = [helper.make_node("Cast", ["pixels"], ["pixels_float"], to=TensorProto.FLOAT),
             helper.make_node("Transpose", ["pixels_float"], ["pixels_chw"], perm=[0, 3, 1, 2]),
             helper.make_node("Mul", ["pixels_chw", "pixel_scale"], ["pixels_scaled"]),
             helper.make_node("Add", ["pixels_scaled", "pixel_shift"], [name])]
    for i, node in enumerate(nodes):
        graph.node.insert(i, node)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIZE, SIZE, 3]))
    onnx.checker.check_model(model)
    onnx.save(model, out + ".part")
    os.rename(out + ".part", out)
    return out


def normalised(pixels):
    """float16 [n, 3, 224, 224] of uint8 [n, 224, 224, 3]."""
    import numpy as np

    x = (pixels.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2).astype(np.float16))


# TensorRT.

def load_tensorrt():
    try:
        import tensorrt as trt
    except ImportError:
        import tensorrt_bindings as trt
    return trt


class Builder:
    """Builds engines, with a timing cache that they share, and keeps them in files."""

    def __init__(self, folder):
        self.trt, self.folder = load_tensorrt(), folder
        self.logger = self.trt.Logger(self.trt.Logger.ERROR)
        self.cache = os.path.join(folder, "timing.cache")

    def path(self, name, batch):
        return os.path.join(self.folder, f"{name}-{self.trt.__version__}-b{batch}.plan")

    def build(self, name, onnx_path, batch):
        trt = self.trt
        builder = trt.Builder(self.logger)
        network = builder.create_network(0)
        reader = trt.OnnxParser(network, self.logger)
        if not reader.parse_from_file(onnx_path):
            raise SystemExit("; ".join(str(reader.get_error(i)) for i in range(reader.num_errors)))
        config = builder.create_builder_config()
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 16 << 30)
        entry = network.get_input(0)
        if entry.dtype == trt.float32:
            entry.dtype = trt.float16
        network.get_output(0).dtype = trt.float32
        shape = (batch, *tuple(entry.shape)[1:])
        profile = builder.create_optimization_profile()
        profile.set_shape(entry.name, shape, shape, shape)
        config.add_optimization_profile(profile)
        kept = open(self.cache, "rb").read() if os.path.exists(self.cache) else b""
        config.set_timing_cache(config.create_timing_cache(kept), False)
        began = time.perf_counter()
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise SystemExit(f"TensorRT built no engine for batch {batch}")
        for path, data in ((self.cache, config.get_timing_cache().serialize()), (self.path(name, batch), plan)):
            with open(path + ".part", "wb") as out:
                out.write(bytearray(data))
            os.rename(path + ".part", path)
        return time.perf_counter() - began


class Driver:
    """The few functions of libcuda that launch graphs: torch's wrapper of them would cost some microseconds each."""

    def __init__(self):
        self.libcuda = ctypes.CDLL("libcuda.so.1")

    def call(self, name, *args):
        code = getattr(self.libcuda, name)(*args)
        if code != 0:
            text = ctypes.c_char_p()
            self.libcuda.cuGetErrorString(code, ctypes.byref(text))
            raise SystemExit(f"{name}: {(text.value or b'unknown error').decode()} ({code})")

    def capture(self, stream, record):
        graph, launchable = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", stream, 1)  # thread-local
        record()
        self.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        self.call("cuGraphInstantiateWithFlags", ctypes.byref(launchable), graph, ctypes.c_ulonglong(0))
        self.call("cuGraphDestroy", graph)
        return launchable


class TensorRT:
    """One engine of one batch size, as two graphs: on the device alone, and with its copies."""

    def __init__(self, builder, driver, name, batch, inputs):
        import torch

        trt, self.driver, self.batch = builder.trt, driver, batch
        self.runtime = trt.Runtime(builder.logger)
        with open(builder.path(name, batch), "rb") as plan:
            self.engine = self.runtime.deserialize_cuda_engine(plan.read())
        self.context = self.engine.create_execution_context()
        torch_stream = torch.cuda.Stream()
        self.keep = torch_stream
        self.stream = ctypes.c_void_p(torch_stream.cuda_stream)
        self.host_in = torch.from_numpy(inputs).pin_memory()
        self.device_in = self.host_in.cuda()
        self.device_out = torch.empty(batch, DIM, dtype=torch.float32, device="cuda")
        self.host_out = torch.empty(batch, DIM, dtype=torch.float32, pin_memory=True)
        self.answer = self.host_out.numpy().copy()
        entry, result = (self.engine.get_tensor_name(i) for i in range(2))
        if self.engine.get_tensor_mode(entry) != trt.TensorIOMode.INPUT:
            entry, result = result, entry
        self.context.set_input_shape(entry, tuple(self.host_in.shape))
        self.context.set_tensor_address(entry, self.device_in.data_ptr())
        self.context.set_tensor_address(result, self.device_out.data_ptr())
        torch.cuda.synchronize()
        for _ in range(2):  # what an engine does the first time belongs in no graph
            self.execute()
        self.wait()
        self.on_device = driver.capture(self.stream, self.execute)
        self.with_copies = driver.capture(self.stream, self.execute_with_copies)

    def execute(self):
        if not self.context.execute_async_v3(self.stream.value):
            raise SystemExit(f"TensorRT did not run batch {self.batch}")

    def copy(self, to, source):
        self.driver.call("cuMemcpyAsync", ctypes.c_uint64(to.data_ptr()), ctypes.c_uint64(source.data_ptr()),
                         ctypes.c_size_t(to.numel() * to.element_size()), self.stream)

    def execute_with_copies(self):
        self.copy(self.device_in, self.host_in)
        self.execute()
        self.copy(self.host_out, self.device_out)

    def wait(self):
        self.driver.call("cuStreamSynchronize", self.stream)

    def launch(self, graph):
        self.driver.call("cuGraphLaunch", graph, self.stream)

    def ask(self, way, times):
        import numpy as np

        graph = self.with_copies if way == "host" else self.on_device
        if way == "stream":
            import torch

            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(self.keep)
            for _ in range(times):
                self.launch(graph)
            end.record(self.keep)
            self.wait()
            return [1000 * start.elapsed_time(end) / times]
        us = []
        for _ in range(times):
            began = time.perf_counter()
            self.launch(graph)
            self.wait()
            if way == "host":  # Vitrine's answers are floats in its caller's memory
                np.copyto(self.answer, self.host_out.numpy())
            us.append(1e6 * (time.perf_counter() - began))
        return us

    def embeddings(self):
        self.ask("host", 1)
        return self.answer.copy()


# Vitrine.

class Worker:
    """The engine in a process of its own: TestCardWorker says what it answers."""

    def __init__(self, binary):
        self.process = subprocess.Popen([os.path.abspath(binary), "-test.run", "^TestCardWorker$", "-test.timeout", "1h"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={**os.environ, "VITRINE_CARD_WORKER": "fp16"})
        if self.line() != "ready":
            raise SystemExit("Vitrine's worker did not start: is there a card?")

    def line(self):
        return self.process.stdout.readline().strip()

    def ask(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        answer = self.line()
        if not answer.startswith("["):
            raise SystemExit(f"Vitrine's worker, asked {words!r}: {answer}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Vitrine:
    def __init__(self, worker, batch):
        self.worker, self.batch = worker, batch

    def ask(self, way, times):
        return self.worker.ask(f"{way} {self.batch} {times}")


# The measurement.

def cosine_min(a, b):
    import numpy as np

    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def measure(engines, way, rounds, seconds):
    """Each round's median time of each engine, microseconds."""
    repeats = {}
    for name, engine in engines.items():
        warm = engine.ask(way, 3)
        repeats[name] = max(3, min(2000, int(seconds * 1e6 / statistics.median(engine.ask(way, 3) + warm[-1:]))))
    times = {name: [] for name in engines}
    for round_ in range(rounds):
        for name in random.Random(round_).sample(sorted(engines), len(engines)):
            engines[name].ask(way, 1)  # the card comes from the other engine
            times[name].append(statistics.median(engines[name].ask(way, repeats[name])))
    return times, repeats


def card():
    fields = "name,driver_version,power.limit,clocks.max.sm,clocks.sm,temperature.gpu"
    answer = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", "0"], capture_output=True, text=True, check=True)
    return dict(zip(fields.split(","), (f.strip() for f in answer.stdout.strip().split(","))))


def build_engines(args, models):
    """Builds what is missing, the plain model's engines first, until the time is over; tells what there is."""
    builder, began, took = Builder(args.folder), time.monotonic(), {}
    for name, onnx_path in models.items():
        for batch in args.batch:
            if os.path.exists(builder.path(name, batch)):
                continue
            if time.monotonic() - began > args.build_seconds:
                print(f"not built yet: {name} for batch {batch}; call again", file=sys.stderr)
                continue
            took[f"{name} b{batch}"] = round(builder.build(name, onnx_path, batch), 1)
            print(f"built {name} for batch {batch} in {took[f'{name} b{batch}']} s", file=sys.stderr, flush=True)
    there = [(name, batch) for name in models for batch in args.batch if os.path.exists(builder.path(name, batch))]
    return builder, there, took


def main(args):
    import numpy as np

    os.makedirs(args.folder, exist_ok=True)
    before = card()
    models = {"tensorrt": export(args.vitrine, args.folder)}
    if args.u8:
        models["tensorrt-u8"] = from_pixels(models["tensorrt"])
    builder, there, took = build_engines(args, models)
    driver, worker = Driver(), Worker(args.worker)
    with contextlib.closing(worker):
        file = os.path.join(args.folder, "exchange")
        worker.ask(f"pixels {IMAGES} {file}")
        pixels = np.fromfile(file, np.uint8).reshape(IMAGES, SIZE, SIZE, 3)
        worker.ask(f"embed {IMAGES} {file}")
        own = np.fromfile(file, np.float32).reshape(IMAGES, DIM)
        os.remove(file)
        manifest = {"kind": "manifest", "record": "tensorrt-beside", "version": 1, "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                    "card": before["name"], "driver": before["driver_version"], "state_before": before, "tensorrt": builder.trt.__version__,
                    "rounds": args.rounds, "slice_seconds": args.slice, "build_seconds": took, "revision": os.environ.get("REVISION", ""), "cosine_min": 1.0}
        entries = []
        for batch in args.batch:
            some = np.concatenate([pixels] * -(-batch // IMAGES))[:batch]
            engines = {"vitrine": Vitrine(worker, batch)}
            for name in models:
                if (name, batch) in there:
                    engines[name] = TensorRT(builder, driver, name, batch, some if name.endswith("u8") else normalised(some))
                    c = cosine_min(engines[name].embeddings()[:IMAGES], own[:batch])
                    manifest["cosine_min"] = min(manifest["cosine_min"], c)
                    if not c >= FLOOR:
                        raise SystemExit(f"{name}, batch {batch}: cosine {c:.6f} with Vitrine's embeddings")
            if len(engines) == 1:
                continue
            for way in TITLES:
                times, repeats = measure(engines, way, args.rounds, args.slice)
                entries += [{"kind": "times", "way": way, "batch": batch, "engine": name, "repeats": repeats[name], "us": [round(v, 3) for v in times[name]]} for name in engines]
                print(f"batch {batch}, {way}: " + ", ".join(f"{n} {statistics.median(v):.1f} us" for n, v in times.items()), file=sys.stderr, flush=True)
        manifest["state_after"] = card()
    if args.record:
        with open(args.record, "w") as out:
            for entry in [manifest, *entries]:
                out.write(json.dumps(entry) + "\n")
    print(table(manifest, {(e["way"], e["batch"], e["engine"]): e["us"] for e in entries}))


if __name__ == "__main__":
    arguments = parser.parse_args()
    if arguments.table:
        print(table(*read_record(arguments.table)))
    else:
        main(arguments)
