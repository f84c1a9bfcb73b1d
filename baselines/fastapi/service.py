"""The usual image-embedding service: FastAPI, Pillow, open_clip. start.py starts it.

POST /embed/base64  {"images": ["<base64>", ...]} -> {"embeddings": [[...]], "model_info": {...}, "count": n}
POST /embed/batch   multipart form, field files   -> the same
GET  /health        200 once the model has computed an image

Embeddings are normalised. Server-Timing carries the milliseconds of decode (base64, Pillow, open_clip's
transform) and compute (copies to the device and back included; on a GPU also gpu, from CUDA events).
SETTINGS is an environment variable with JSON: weights, device, precision, threads, runtime, as_reference.

As its users would tune it: images are decoded by a pool of threads, as large as there are cores, while the
model runs one request at a time outside the event loop. With as_reference it is the reference's: everything
in the request's handler, one image after the other, on the event loop, in float32.
"""
import asyncio
import base64
import concurrent.futures
import io
import json
import os
import sys
import time

import numpy as np
from fastapi import FastAPI, HTTPException, Response, UploadFile
from PIL import Image
from pydantic import BaseModel

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
settings = json.loads(os.environ["SETTINGS"])


class TorchModel:
    """PyTorch, eager."""

    def __init__(self):
        import clip
        import torch

        self.torch, self.device = torch, settings["device"]
        model, self.transform = clip.load(settings["weights"])
        self.dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[settings["precision"]]
        self.visual = model.visual.to(self.device, self.dtype)

    def threads(self, n):
        """How many threads operators use when the calling thread runs them."""
        self.torch.set_num_threads(n)

    def decode(self, data):
        return self.transform(Image.open(io.BytesIO(data)))

    def compute(self, images):
        """Normalised embeddings, and milliseconds by stage."""
        torch, timing = self.torch, {}
        with torch.inference_mode():
            batch = torch.stack(images)
            if self.device == "cuda":
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                batch = batch.pin_memory().to(self.device, self.dtype, non_blocking=True)
                start.record()
                out = self.visual(batch)
                end.record()
            else:
                out = self.visual(batch.to(self.dtype))
            out = torch.nn.functional.normalize(out.float(), dim=-1).cpu().numpy()  # waits for the device
        if self.device == "cuda":
            timing["gpu"] = start.elapsed_time(end)
        return out, timing


class OnnxModel:
    """ONNX Runtime with Pillow and NumPy: for machines without PyTorch. Preprocessing is open_clip's, written out."""

    def __init__(self):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = settings["threads"]
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[settings["device"]]
        if settings["device"] == "cuda":
            ort.preload_dlls()
        self.session = ort.InferenceSession(settings["onnx"], options, providers=[provider])
        if provider not in self.session.get_providers():
            raise SystemExit(f"{provider} is not available: {self.session.get_providers()}")
        pre = json.load(open(os.path.join(settings["weights"], "open_clip_config.json")))["preprocess_cfg"]
        self.mean, self.std = (np.array(pre[k], np.float32)[:, None, None] for k in ("mean", "std"))
        self.size = self.session.get_inputs()[0].shape[2]

    def threads(self, n):
        pass  # the session has its own

    def decode(self, data):
        """Shorter side to size by bicubic, centre crop, RGB, scale: torchvision's and open_clip's order and rounding."""
        image, size = Image.open(io.BytesIO(data)), self.size
        w, h = image.size
        w, h = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
        image = image.resize((w, h), Image.BICUBIC)
        left, top = round((w - size) / 2), round((h - size) / 2)
        image = image.crop((left, top, left + size, top + size)).convert("RGB")
        return (np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255) - self.mean) / self.std

    def compute(self, images):
        out = self.session.run(None, {"image": np.stack(images)})[0]
        return out / np.linalg.norm(out, axis=-1, keepdims=True), {}


class Base64Request(BaseModel):
    images: list[str]
    model_name: str = "ViT-B-32"
    pretrained: str = "openai"


app = FastAPI()
model = OnnxModel() if settings["runtime"] == "onnxruntime" else TorchModel()
model.threads(settings["threads"])
# PyTorch keeps a team of threads for each thread that calls it: the decoders' would only be in the way.
decoders = concurrent.futures.ThreadPoolExecutor(os.cpu_count(), initializer=model.threads, initargs=(1,))
device = concurrent.futures.ThreadPoolExecutor(1, initializer=model.threads, initargs=(settings["threads"],))


def warm_up():
    black = io.BytesIO()
    Image.new("RGB", (256, 256)).save(black, "PNG")
    for _ in range(3):
        model.compute([model.decode(black.getvalue())])


# In the thread that will compute.
warm_up() if settings["as_reference"] else device.submit(warm_up).result()


def from_base64(text):
    return base64.b64decode(text, validate=True)


def timed(images):
    start = time.perf_counter()
    out, timing = model.compute(images)
    return out, {"compute": (time.perf_counter() - start) * 1e3, **timing}


async def embed(items, read, info, response):
    if not items:
        raise HTTPException(400, "No images")
    start = time.perf_counter()
    try:
        if settings["as_reference"]:
            images = [model.decode(read(item)) for item in items]
        else:
            loop = asyncio.get_running_loop()
            images = await asyncio.gather(*(loop.run_in_executor(decoders, lambda i=item: model.decode(read(i))) for item in items))
    except Exception as error:  # Pillow's and base64's: what a client sent
        raise HTTPException(400, f"Invalid image: {error}") from error
    timing = {"decode": (time.perf_counter() - start) * 1e3}
    if settings["as_reference"]:
        out, compute = timed(images)
    else:
        out, compute = await asyncio.get_running_loop().run_in_executor(device, timed, images)
    response.headers["Server-Timing"] = ", ".join(f"{k};dur={v:.3f}" for k, v in {**timing, **compute}.items())
    return {"embeddings": out.tolist(), "model_info": info, "count": len(items)}


@app.get("/health")
def health():
    return {"status": "healthy", **{k: settings[k] for k in ("runtime", "device", "precision", "threads", "as_reference")}}


@app.post("/embed/base64")
async def embed_base64(request: Base64Request, response: Response):
    return await embed(request.images, from_base64, {"model_name": request.model_name, "pretrained": request.pretrained}, response)


@app.post("/embed/batch")
async def embed_batch(files: list[UploadFile], response: Response):
    return await embed([await f.read() for f in files], bytes, {"model_name": "ViT-B-32", "pretrained": "openai"}, response)
