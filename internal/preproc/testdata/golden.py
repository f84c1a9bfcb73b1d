#!/usr/bin/env python3
"""Makes the images and golden files of internal/preproc with Pillow and open_clip.

Versions: Pillow 13.0.0, open_clip_torch 3.3.0, torchvision 0.29.2, scikit-image 0.26.0.
Another Pillow is refused, because its pixels may differ: change PILLOW here and say so in the plan's version.

    python3 internal/preproc/testdata/golden.py

Writes images/*, golden.json (per image and plan: mode, size and SHA-256 of the decoded pixels, and of
what open_clip's transform gives before and after normalisation) and ../resize/testdata/golden.json
(SHA-256 of resized synthetic images, whose pixels a formula gives).
"""
import hashlib
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
import skimage.data
from open_clip.transform import image_transform
from PIL import Image, ImageOps, features

PILLOW = "13.0.0"
assert PIL.__version__ == PILLOW, PIL.__version__
warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
IMAGES = HERE / "images"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def sha(b):
    return hashlib.sha256(b).hexdigest()


def stored(im):
    """Pixels as internal/preproc/raster stores them."""
    if im.mode == "1":
        return (np.asarray(im).astype(np.uint8) * 255).tobytes()
    return im.tobytes()


# ---- PNG files that Pillow cannot write: any depth, any colour type, interlaced -----------------

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png_rows(a, depth, filters):
    """Rows of samples (h, w, samples) packed and filtered, filters taken in turn."""
    h, w, s = a.shape
    out, prev = b"", None
    bpp = max(s * depth // 8, 1)
    for y in range(h):
        flat = a[y].reshape(-1)
        if depth == 16:
            raw = flat.astype(">u2").tobytes()
        elif depth == 8:
            raw = flat.astype(np.uint8).tobytes()
        else:
            bits = np.unpackbits(flat.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
            raw = np.packbits(bits.reshape(-1)).tobytes()
        x = np.frombuffer(raw, np.uint8).astype(int)
        up = np.zeros_like(x) if prev is None else prev
        left = np.concatenate([np.zeros(bpp, int), x])[: len(x)]
        corner = np.concatenate([np.zeros(bpp, int), up])[: len(x)]
        f = filters[y % len(filters)]
        if f == 4:
            p = left + up - corner
            pa, pb, pc = abs(p - left), abs(p - up), abs(p - corner)
            pred = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, up, corner))
        else:
            pred = [0 * x, left, up, (left + up) // 2][f]
        out += bytes([f]) + ((x - pred) & 255).astype(np.uint8).tobytes()
        prev = x
    return out


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(a, depth, colour, palette=None, trns=None, interlaced=False, filters=(0, 1, 2, 3, 4), split=1000, extra=b""):
    a = a.reshape(a.shape[0], a.shape[1], -1)
    h, w, _ = a.shape
    if interlaced:
        body = b"".join(png_rows(a[y::dy, x::dx], depth, filters) for x, y, dx, dy in ADAM7 if a[y::dy, x::dx].size)
    else:
        body = png_rows(a, depth, filters)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced)))
    out += extra
    if palette is not None:
        out += chunk(b"PLTE", bytes(palette))
    if trns is not None:
        out += chunk(b"tRNS", bytes(trns))
    z = zlib.compress(body, 9)
    for i in range(0, len(z), split):
        out += chunk(b"IDAT", z[i : i + split])
    return out + chunk(b"IEND", b"")


# ---- GIF files that Pillow cannot write: frames off the canvas, interlaced, local palettes ------


def gif_lzw(indices, bits):
    """Codes of bits+1 bits only: the table is emptied before codes would grow."""
    acc = n = 0
    out = bytearray()
    clear, stop = 1 << bits, (1 << bits) + 1
    codes = []
    for i, v in enumerate(indices):
        if i % (clear - 2) == 0:
            codes.append(clear)
        codes.append(int(v))
    for c in codes + [stop]:
        acc |= c << n
        n += bits + 1
        while n >= 8:
            out.append(acc & 255)
            acc >>= 8
            n -= 8
    out.append(acc & 255)
    blocks = b"".join(bytes([len(out[i : i + 255])]) + bytes(out[i : i + 255]) for i in range(0, len(out), 255))
    return bytes([bits]) + blocks + b"\0"


def gif(canvas, at, a, table, local=None, transparent=None, interlaced=False, bits=4):
    h, w = a.shape
    size = 1 << bits
    out = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80 | (bits - 1) if table is not None else 0, 0, 0)
    if table is not None:
        out += bytes(table).ljust(3 * size, b"\7")
    out += b"!\xfe\x05hello\0"
    if transparent is not None:
        out += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    out += b"," + struct.pack("<HHHHB", *at, w, h, (0x80 | (bits - 1) if local is not None else 0) | (0x40 if interlaced else 0))
    if local is not None:
        out += bytes(local).ljust(3 * size, b"\7")
    if interlaced:
        a = np.concatenate([a[0::8], a[4::8], a[2::4], a[1::2]])
    return out + gif_lzw(a.reshape(-1), bits) + b";"


# ---- The images ---------------------------------------------------------------------------------


def photo(name, w, h):
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((w, h), Image.LANCZOS)


def alpha(w, h):
    y, x = np.mgrid[:h, :w]
    a = np.clip(300 * np.abs(np.sin(x / 11.0) * np.cos(y / 7.0)) - 20, 0, 255)
    return Image.fromarray(a.astype(np.uint8))


def with_alpha(im):
    im = im.copy()
    im.putalpha(alpha(*im.size))
    return im


def save(im, fmt, **kw):
    b = io.BytesIO()
    im.save(b, fmt, **kw)
    return b.getvalue()


def orientation(n, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, n, 0, 0)


def images():
    rng = np.random.default_rng(7)
    cat, astro = photo("chelsea", 150, 100), photo("astronaut", 128, 128)
    small = photo("coffee", 61, 45)
    s8 = np.asarray(small)
    wide = s8.astype(np.uint16) * 257 + rng.integers(0, 200, s8.shape).astype(np.uint16)
    grey16 = wide[..., 0] // 97  # around 255 and above, so that clipping shows
    noise = lambda h, w, hi, c=1: rng.integers(0, hi, (h, w, c))
    ramp = lambda n: [v for i in range(n) for v in (i, i, i)]
    colours = lambda n: rng.integers(0, 256, 3 * n).tolist()

    yield "rgb.png", save(cat, "PNG")
    yield "l.png", save(astro.convert("L"), "PNG")
    yield "rgba.png", save(with_alpha(small.resize((90, 70))), "PNG")
    yield "la.png", save(with_alpha(astro.convert("L")).convert("LA"), "PNG")
    yield "p.png", save(cat.quantize(60), "PNG")
    yield "p_trns.png", save(astro.quantize(200), "PNG", transparency=3)
    yield "p_trns_bytes.png", save(small.quantize(16), "PNG", transparency=bytes([0, 50, 100, 255]))
    yield "bit.png", save(astro.convert("1"), "PNG")
    yield "i16_pillow.png", save(Image.fromarray(wide[..., 1]), "PNG")
    yield "rgb_trns.png", save(small, "PNG", transparency=(1, 2, 3))
    for il in (False, True):
        n = "_adam7.png" if il else ".png"
        yield "rgb8" + n, png(s8, 8, 2, interlaced=il)
        yield "rgb16" + n, png(wide, 16, 2, interlaced=il)
        yield "grey16" + n, png(grey16, 16, 0, interlaced=il)
        yield "rgba16" + n, png(np.dstack([wide, wide[..., :1]])[:30], 16, 6, interlaced=il)
        yield "la16" + n, png(wide[:, :, :2], 16, 4, interlaced=il)
        yield "la8" + n, png(s8[:, :, :2], 8, 4, interlaced=il)
        for d in (1, 2, 4):
            yield f"grey{d}" + n, png(s8[..., 0] >> (8 - d), d, 0, interlaced=il)
            yield f"p{d}" + n, png(s8[..., 1] >> (8 - d), d, 3, palette=colours(1 << d), interlaced=il)
    yield "p_short_palette.png", png(noise(20, 30, 16), 4, 3, palette=colours(5))
    yield "paeth.png", png(s8, 8, 2, filters=(4,))
    yield "average.png", png(s8, 8, 2, filters=(3,))
    yield "one_adam7.png", png(noise(1, 1, 256, 3), 8, 2, interlaced=True)
    yield "narrow_adam7.png", png(noise(9, 3, 256, 3), 8, 2, interlaced=True)
    for w, h in [(1, 1), (2, 3), (1, 40), (400, 3), (224, 224), (225, 224), (223, 447), (300, 300), (230, 700), (250, 501), (240, 480)]:
        y, x = np.mgrid[:h, :w]
        a = np.stack([x * 5 + y, y * 3, (x ^ y) * 2], -1).astype(np.uint8)
        yield f"size_{w}x{h}.png", save(Image.fromarray(a), "PNG")
    apng = io.BytesIO()
    small.save(apng, "PNG", save_all=True, append_images=[small.rotate(90, expand=False)])
    yield "animated.png", apng.getvalue()

    yield "p.gif", save(cat.quantize(128), "GIF")
    yield "grey.gif", save(astro.convert("L"), "GIF")
    yield "trns.gif", save(small.quantize(32), "GIF", transparency=5)
    yield "animated.gif", save(small, "GIF", save_all=True, append_images=[small.rotate(180)])
    a = noise(21, 17, 16)[..., 0]
    yield "offset.gif", gif((40, 30), (5, 4), a, colours(16))
    yield "offset_trns.gif", gif((40, 30), (5, 4), a, colours(16), transparent=6)
    yield "interlaced.gif", gif((17, 21), (0, 0), a, colours(16), interlaced=True)
    yield "local.gif", gif((17, 21), (0, 0), a, colours(16), local=colours(16))
    yield "no_palette.gif", gif((17, 21), (0, 0), a, None)
    yield "ramp.gif", gif((17, 21), (0, 0), a, ramp(16))
    yield "local_ramp.gif", gif((17, 21), (0, 0), a, colours(16), local=ramp(16))
    yield "outgrown.gif", gif((10, 10), (3, 2), a, colours(16))
    yield "short_interlaced.gif", gif((17, 3), (0, 0), a[:3], colours(16), interlaced=True)

    yield "lossy.webp", save(photo("chelsea", 451, 300), "WEBP", quality=80)
    yield "lossy_odd.webp", save(photo("coffee", 131, 97), "WEBP", quality=60, method=6)
    yield "lossy_even.webp", save(photo("rocket", 130, 98), "WEBP", quality=95)
    yield "lossy_low.webp", save(photo("astronaut", 200, 201), "WEBP", quality=5)
    yield "lossy_noise.webp", save(Image.fromarray(noise(33, 47, 256, 3).astype(np.uint8)), "WEBP", quality=70)
    yield "lossless.webp", save(small, "WEBP", lossless=True)
    yield "lossless_alpha.webp", save(with_alpha(small), "WEBP", lossless=True, exact=True)
    yield "lossless_palette.webp", save(cat.quantize(12).convert("RGB"), "WEBP", lossless=True)
    yield "alpha.webp", save(with_alpha(photo("coffee", 121, 90)), "WEBP", quality=75)
    yield "alpha_lossy.webp", save(with_alpha(astro), "WEBP", quality=75, alpha_quality=40)
    yield "animated.webp", save(small, "WEBP", save_all=True, append_images=[small.rotate(180)], duration=50)
    yield "animated_alpha.webp", save(with_alpha(small), "WEBP", save_all=True, append_images=[with_alpha(small).rotate(180)])
    yield "vp8x.webp", save(small, "WEBP", quality=80, icc_profile=b"not a profile", exif=b"Exif\0\0" + orientation(6))
    yield "vp8x_lossless.webp", save(with_alpha(small), "WEBP", lossless=True, exif=b"Exif\0\0" + orientation(5, ">"))
    for w, h in [(1, 1), (2, 1), (1, 2), (3, 2), (16, 17), (5, 300)]:
        a = noise(h, w, 256, 3).astype(np.uint8)
        yield f"size_{w}x{h}.webp", save(Image.fromarray(a), "WEBP", quality=90)

    yield "photo.jpg", save(photo("chelsea", 320, 213), "JPEG", quality=85)
    yield "progressive.jpg", save(photo("coffee", 233, 155), "JPEG", quality=75, progressive=True)
    yield "grey.jpg", save(astro.convert("L"), "JPEG", quality=90)
    yield "cmyk.jpg", save(small.convert("CMYK"), "JPEG", quality=90)
    tiny = small.resize((31, 20))
    for n in range(1, 9):
        yield f"upright_{n}.png", png(np.asarray(tiny), 8, 2, extra=chunk(b"eXIf", orientation(n, "<>"[n & 1])))
    for n in (3, 6, 7):
        yield f"upright_{n}.jpg", save(tiny, "JPEG", quality=90, exif=b"Exif\0\0" + orientation(n, ">"))
    yield "upright_p.png", png(noise(11, 23, 8)[..., 0], 4, 3, palette=colours(16), extra=chunk(b"eXIf", orientation(8)))


PLANS = {
    "shortest": dict(resize_mode="shortest", interpolation="bicubic"),
    "bilinear": dict(resize_mode="shortest", interpolation="bilinear"),
    "squash": dict(resize_mode="squash", interpolation="bicubic"),
    "longest": dict(resize_mode="longest", interpolation="bicubic"),
    "exif": dict(resize_mode="shortest", interpolation="bicubic"),
}


def plans_of(name):
    yield "shortest"
    if name.startswith(("rgb.", "p.", "size_", "rgba.", "la.", "cmyk", "bit", "grey16.", "photo", "alpha.")):
        yield from ("bilinear", "squash", "longest")
    if name.startswith(("upright", "vp8x")):
        yield "exif"


def entry(name, data, plan):
    im = Image.open(io.BytesIO(data))
    im.load()
    e = dict(file=name, plan=plan, mode=im.mode, width=im.width, height=im.height, decoded=sha(stored(im)))
    if plan == "exif":
        im = ImageOps.exif_transpose(im)
    try:
        t = image_transform(224, is_train=False, mean=MEAN, std=STD, **PLANS[plan])
        rgb = im
        for step in t.transforms[:-2]:
            rgb = step(rgb)
        assert rgb.mode == "RGB" and rgb.size == (224, 224)
        e["rgb"] = sha(rgb.tobytes())
        e["float32"] = sha(t(im).numpy().astype("<f4").tobytes())
    except (ValueError, MemoryError, TypeError) as err:
        print("left out:", name, plan, err)
        return None
    return e


# ---- Resizing alone -----------------------------------------------------------------------------

CHANNELS = {"L": 1, "LA": 2, "PA": 2, "P": 1, "1": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 2}


def synthetic(mode, w, h):
    """Byte i of the image is the top byte of i*2654435761 + (i*i)*40503 mod 2**32, "1" of it 0 or 255."""
    i = np.arange(w * h * CHANNELS[mode], dtype=np.uint64)
    b = (((i * 2654435761 + i * i * 40503) & 0xFFFFFFFF) >> 24).astype(np.uint8)
    if mode == "1":
        return Image.fromarray(((b >> 7) * 255).reshape(h, w)).convert("1", dither=Image.Dither.NONE)
    return Image.frombytes(mode, (w, h), b.tobytes())


def resizes():
    sizes = [((320, 240), (299, 224)), ((160, 120), (160, 56)), ((160, 120), (75, 120)), ((37, 53), (224, 321)),
             ((1, 1), (224, 224)), ((2, 3), (224, 336)), ((3, 1000), (7, 333)), ((500, 4), (224, 2)), ((224, 224), (224, 224)),
             ((225, 223), (224, 224)), ((448, 449), (224, 225)), ((1000, 30), (31, 40)), ((97, 101), (96, 100)), ((64, 48), (1, 1)),
             # around the size at which Pillow turns the order of the passes
             ((300, 600), (224, 448)), ((300, 601), (224, 448)), ((50, 300), (49, 100)), ((100, 99), (101, 98)), ((60, 90), (80, 90)), ((60, 90), (60, 40))]
    for mode in CHANNELS:
        for src, dst in sizes + [((640, 480), (299, 224))] * (mode == "RGB"):
            for f in ("bicubic", "bilinear"):
                out = synthetic(mode, *src).resize(dst, getattr(Image, f.upper()))
                yield dict(mode=mode, src=src, dst=dst, filter=f, sha256=sha(stored(out)))


def write(path, key, rows):
    path.parent.mkdir(exist_ok=True)
    head = json.dumps(dict(pillow=PILLOW, libwebp=features.version("webp")))[1:-1]
    path.write_text("{" + head + f', "{key}": [\n' + ",\n".join(json.dumps(r) for r in rows) + "\n]}\n")


def main():
    IMAGES.mkdir(exist_ok=True)
    entries = []
    for name, data in images():
        (IMAGES / name).write_bytes(data)
        entries += [e for plan in plans_of(name) if (e := entry(name, data, plan))]
    write(HERE / "golden.json", "images", entries)
    write(HERE.parent / "resize" / "testdata" / "golden.json", "resizes", list(resizes()))


main()
