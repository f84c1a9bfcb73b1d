"""One CPU engine behind a line protocol, so that several can be timed in turn.

Start: engine_worker.py ENGINE MODEL_DIR THREADS. It prints "ready" once the model is loaded. For each
line "N" on standard input it runs one batch of N images (the same pseudo-random pixels for every
engine, see pixels()) and prints the milliseconds that the batch took. "embed N FILE" writes the
embeddings to FILE as .npy instead.
"""
import os
import sys
import time

engine, model_dir, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.environ["OMP_NUM_THREADS"] = str(threads)

import numpy as np

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pixels(n):
    """uint8 [n, 224, 224, 3]: splitmix64 of the pixel's index, top byte."""
    with np.errstate(over="ignore"):
        z = (np.arange(n * 224 * 224 * 3, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(56)).astype(np.uint8).reshape(n, 224, 224, 3)


def planes(n):
    """float32 [n, 3, 224, 224], normalised."""
    x = (pixels(n).astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def torch_model():
    import json

    import torch
    from open_clip.transformer import VisionTransformer
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    config = json.load(open(os.path.join(model_dir, "open_clip_config.json")))["model_cfg"]
    v = config["vision_cfg"]
    from open_clip.model import CLIP

    model = CLIP(embed_dim=config["embed_dim"], vision_cfg=v,
                 text_cfg=dict(context_length=77, vocab_size=64, width=64, heads=1, layers=1),
                 quick_gelu=config.get("quick_gelu", False)).visual.eval()
    assert isinstance(model, VisionTransformer)
    state = load_file(os.path.join(model_dir, "open_clip_model.safetensors"))
    model.load_state_dict({k.removeprefix("visual."): t.float() for k, t in state.items() if k.startswith("visual.")})
    return model


def make_torch(dtype):
    import torch

    model = torch_model().to(getattr(torch, dtype))

    def run(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x).to(getattr(torch, dtype))).float().numpy()

    return run


def onnx_file():
    path = os.path.join(model_dir, "baseline.onnx")
    if not os.path.exists(path):
        import torch

        temporary = f"{path}.{os.getpid()}"
        torch.onnx.export(torch_model(), torch.zeros(2, 3, 224, 224), temporary, input_names=["image"],
                          output_names=["embedding"], dynamic_axes={"image": {0: "n"}, "embedding": {0: "n"}},
                          opset_version=17, dynamo=False)
        os.rename(temporary, path)
    return path


def make_onnxruntime():
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(onnx_file(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0]


def make_openvino(precision):
    import openvino as ov

    core = ov.Core()
    model = core.compile_model(core.read_model(onnx_file()), "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request = model.create_infer_request()
    return lambda x: next(iter(request.infer({0: x}).values()))


ENGINES = {
    "onnxruntime-fp32": make_onnxruntime,
    "openvino-fp32": lambda: make_openvino("f32"),
    "openvino-bf16": lambda: make_openvino("bf16"),
    "torch-fp32": lambda: make_torch("float32"),
    "torch-bf16": lambda: make_torch("bfloat16"),
    "export-onnx": lambda: onnx_file() and (lambda x: x),
}

run = ENGINES[engine]()
inputs = {}
print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    n = int(words[-1] if words[0] != "embed" else words[1])
    x = inputs.setdefault(n, planes(n))
    start = time.perf_counter()
    out = run(x)
    elapsed = time.perf_counter() - start
    if words[0] == "embed":
        np.save(words[2], np.asarray(out, np.float32))
    print(f"{elapsed * 1e3:.4f}", flush=True)
