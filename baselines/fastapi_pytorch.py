"""The usual image-embedding service: FastAPI, base64 JPEGs in JSON, Pillow, open_clip, JSON out.

    MODEL_DIR=folder uvicorn fastapi_pytorch:app --port 9000

MODEL_DIR holds open_clip_config.json and open_clip_model.safetensors (vitrine model export).
"""
import base64
import io
import json
import os

import torch
from fastapi import FastAPI, HTTPException
from open_clip.model import CLIP
from open_clip.transform import image_transform
from PIL import Image
from pydantic import BaseModel
from safetensors.torch import load_file

folder = os.environ["MODEL_DIR"]
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
config = json.load(open(os.path.join(folder, "open_clip_config.json")))
model = CLIP(embed_dim=config["model_cfg"]["embed_dim"], vision_cfg=config["model_cfg"]["vision_cfg"],
             text_cfg=dict(context_length=77, vocab_size=64, width=64, heads=1, layers=1),  # an export has the image tower only
             quick_gelu=config["model_cfg"].get("quick_gelu", False)).eval()
missing = model.load_state_dict(load_file(os.path.join(folder, "open_clip_model.safetensors")), strict=False).missing_keys
assert not [key for key in missing if key.startswith("visual.")], missing
preprocess = image_transform(model.visual.image_size, is_train=False, mean=config["preprocess_cfg"]["mean"],
                             std=config["preprocess_cfg"]["std"], interpolation="bicubic", resize_mode="shortest")
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
