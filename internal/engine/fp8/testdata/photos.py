#!/usr/bin/env python3
"""Writes ../photos.rgb: the project's photographs as 64 x 64 pixels of RGB, one after the other.

Needs Pillow.
"""

import pathlib

from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["astronaut.jpg", "chelsea.png", "coffee.jpg", "rocket.webp"]

photos = HERE.parents[3] / "testdata/photos"
pixels = b"".join(ImageOps.fit(Image.open(photos / n).convert("RGB"), (64, 64), Image.Resampling.LANCZOS).tobytes() for n in NAMES)
(HERE.parent / "photos.rgb").write_bytes(pixels)
