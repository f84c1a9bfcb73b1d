"""The usual image-embedding service: FastAPI, base64 JPEGs in JSON, Pillow, open_clip, JSON out.

    MODEL_DIR=folder uvicorn fastapi_pytorch:app --port 9000

MODEL_DIR holds open_clip_config.json and open_clip_model.safetensors (vitrine model export).
"""
import base64
import io
import os

import open_clip
import torch
from fastapi import FastAPI, HTTPException
from PIL import Image
from pydantic import BaseModel

folder = os.environ["MODEL_DIR"]
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
model, preprocess = open_clip.create_model_from_pretrained("local-dir:" + folder)
model.eval()
app = FastAPI()


class Base64Request(BaseModel):
    images: list[str]
    model_name: str = "ViT-B-32"
    pretrained: str = "openai"


@app.get("/health")
def health():
    return {"status": "healthy"}


@app.post("/embed/base64")
def embed(request: Base64Request):
    try:
        images = [preprocess(Image.open(io.BytesIO(base64.b64decode(s)))) for s in request.images]
    except Exception as error:
        raise HTTPException(400, f"Invalid image: {error}")
    with torch.inference_mode():
        features = model.encode_image(torch.stack(images), normalize=True)
    return {"embeddings": features.tolist(), "model_info": {"model_name": request.model_name}, "count": len(images)}
