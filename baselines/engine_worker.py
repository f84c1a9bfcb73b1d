"""One CPU engine behind a line protocol, so that several can be timed in turn.

Start: engine_worker.py ENGINE MODEL_DIR THREADS. It prints "ready" once the model is loaded. For each
line "N" on standard input it runs one batch of N images (the same pseudo-random pixels for every
engine, see pixels.py) and prints the milliseconds that the batch took. "embed N FILE" writes the
embeddings to FILE as .npy instead.
"""
import os
import sys
import time

engine, model_dir, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.environ["OMP_NUM_THREADS"] = str(threads)

import numpy as np

from pixels import planes


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
