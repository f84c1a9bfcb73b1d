"""ONNX Runtime, or zeros, inside Triton's Python backend. The wheel that holds Triton has no ONNX Runtime backend of its own."""
import json
import os
import sys

sys.path.insert(0, os.environ["BASELINE_SITE_PACKAGES"])

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "openvino": [("OpenVINOExecutionProvider", {"device_type": "CPU"}), "CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider"],
    # The reference's accelerator block: FP16, 1 GiB of workspace, engines kept.
    "tensorrt": [("TensorrtExecutionProvider", {"trt_fp16_enable": True, "trt_max_workspace_size": 1 << 30,
                                                "trt_engine_cache_enable": True,
                                                "trt_engine_cache_path": os.environ.get("BASELINE_ENGINE_CACHE", "/tmp")}),
                 "CUDAExecutionProvider"],
}


def session(path, providers, threads):
    import onnxruntime as ort

    if providers in ("cuda", "tensorrt"):
        ort.preload_dlls()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    made = ort.InferenceSession(path, options, providers=PROVIDERS[providers])
    wanted = PROVIDERS[providers][0]
    wanted = wanted if isinstance(wanted, str) else wanted[0]
    if wanted not in made.get_providers():  # ONNX Runtime falls back to the processor by itself, which would be measured unnoticed
        raise pb_utils.TritonModelException(f"{wanted} is not available: {made.get_providers()}")
    return made


def planes(data):
    """A 224x224 image file as a user's model.py would prepare it for CLIP: Pillow, NumPy, float32 CHW."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB").resize((224, 224), Image.BICUBIC)  # Pillow skips a resize to the same size
    mean, std = np.float32([0.48145466, 0.4578275, 0.40821073]), np.float32([0.26862954, 0.26130258, 0.27577711])
    return ((np.asarray(image).astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)


class TritonPythonModel:
    def initialize(self, args):
        parameters = {k: v["string_value"] for k, v in json.loads(args["model_config"])["parameters"].items()}
        self.session, self.decode = None, parameters["run"] == "decode"
        if parameters["run"] == "onnx":
            folder = os.path.join(args["model_repository"], args["model_version"])
            self.session = session(os.path.join(folder, "model.onnx"), parameters["providers"], int(parameters["threads"]))
            for n in (1, 4, 8, 16, 32):  # as model_warmup would
                self.session.run(None, {"image": np.zeros((n, 3, 224, 224), np.float32)})

    def execute(self, requests):
        """All requests of Triton's batch run as one, and each gets its rows."""
        tensors = [pb_utils.get_input_tensor_by_name(r, "image") for r in requests]
        if self.decode:
            np.stack([planes(data) for t in tensors for data in t.as_numpy().ravel()])
        if self.session is None:
            return [answer(np.zeros((t.shape()[0], 512), np.float32)) for t in tensors]
        rows = [t.as_numpy() for t in tensors]
        out = self.session.run(None, {"image": rows[0] if len(rows) == 1 else np.concatenate(rows)})[0]
        ends = np.cumsum([len(r) for r in rows])
        return [answer(out[end - len(r):end]) for r, end in zip(rows, ends)]


def answer(rows):
    return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", np.ascontiguousarray(rows, dtype=np.float32))])
