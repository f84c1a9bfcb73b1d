"""open_clip's model and preprocessing from a folder that `vitrine model export` wrote; writes its image tower as ONNX.

    python clip.py FOLDER FILE.onnx
"""
import json
import os
import sys


def load(folder):
    """The model in evaluation mode, float32, and open_clip's own preprocessing (Pillow, bicubic, centre crop)."""
    import open_clip
    from open_clip.transform import image_transform

    config = json.load(open(os.path.join(folder, "open_clip_config.json")))
    architecture, pre = config["model_cfg"], config["preprocess_cfg"]
    model = open_clip.CLIP(embed_dim=architecture["embed_dim"], vision_cfg=architecture["vision_cfg"],
                           text_cfg=dict(context_length=77, vocab_size=64, width=64, heads=1, layers=1),  # an export has no text tower
                           quick_gelu=architecture.get("quick_gelu", False)).eval()
    found = open_clip.load_checkpoint(model, os.path.join(folder, "open_clip_model.safetensors"), strict=False)
    if wrong := [k for k in found.missing_keys if k.startswith("visual.")] + found.unexpected_keys:
        raise SystemExit(f"{folder}: weights do not fit open_clip's image tower: {wrong}")
    transform = image_transform(model.visual.image_size, is_train=False, mean=pre["mean"], std=pre["std"],
                                interpolation="bicubic", resize_mode="shortest")
    return model, transform


def export(folder, path):
    """float32 [n, 3, 224, 224] -> [n, 512], not normalised, as torch.onnx writes it."""
    import torch

    model, _ = load(folder)
    size = model.visual.image_size
    side = size[0] if isinstance(size, (tuple, list)) else size
    partial = f"{path}.{os.getpid()}"
    torch.onnx.export(model.visual, torch.zeros(2, 3, side, side), partial, input_names=["image"], output_names=["embedding"],
                      dynamic_axes={"image": {0: "n"}, "embedding": {0: "n"}}, opset_version=17, dynamo=False)
    os.rename(partial, path)


if __name__ == "__main__":
    export(*sys.argv[1:])
