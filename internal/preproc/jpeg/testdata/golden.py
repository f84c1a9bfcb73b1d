#!/usr/bin/env python3
"""Writes golden.json: small JPEG files of real photographs in every variant that the decoder reads, with
the mode, size and SHA-256 of the pixels that Pillow decodes from them.

Needs numpy, pillow, scikit-image (its sample photographs), and libjpeg-turbo's cjpeg and jpegtran.
Usage: golden.py [OUTPUT]
"""
import base64, hashlib, io, json, os, struct, subprocess, sys, tempfile

import numpy as np
import PIL
from PIL import Image, features
import skimage.data

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json")


def crop(name, x, y, w, h, scale=1):
    """A crop of a sample photograph, reduced so that small files still have a photograph's detail."""
    im = Image.fromarray(getattr(skimage.data, name)())
    return im.crop((x, y, x + w * scale, y + h * scale)).resize((w, h), Image.LANCZOS)


def cjpeg(im, *args):
    buf = io.BytesIO()
    im.save(buf, "PPM")
    return subprocess.run(["cjpeg", *args], input=buf.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def jpegtran(data, *args):
    return subprocess.run(["jpegtran", "-copy", "all", *args], input=data, stdout=subprocess.PIPE, check=True).stdout


def pillow(im, **options):
    buf = io.BytesIO()
    im.save(buf, "JPEG", **options)
    return buf.getvalue()


def segments(data):
    """(marker, body) of everything before the first scan, and the rest from SOS on."""
    segs, i = [], 2
    while data[i + 1] != 0xDA:
        n = struct.unpack(">H", data[i + 2 : i + 4])[0]
        segs.append((data[i + 1], data[i + 4 : i + 2 + n]))
        i += 2 + n
    return segs, data[i:]


def join(segs, rest):
    out = b"\xff\xd8"
    for m, b in segs:
        out += bytes([0xFF, m]) + struct.pack(">H", len(b) + 2) + b
    return out + rest


def without(data, *markers):
    segs, rest = segments(data)
    return join([s for s in segs if s[0] not in markers], rest)


def adobe(data, transform):
    """The same data with an Adobe segment instead of JFIF's."""
    segs, rest = segments(data)
    segs = [s for s in segs if s[0] not in (0xE0, 0xEE)]
    return join([(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))] + segs, rest)


def scans(text):
    f = tempfile.NamedTemporaryFile("w", suffix=".scans", delete=False)
    f.write(text)
    f.close()
    return f.name


def cases():
    a = crop("astronaut", 140, 20, 61, 47, 4)
    c = crop("coffee", 60, 40, 160, 120, 2)
    k = crop("chelsea", 120, 60, 97, 83, 2)
    r = crop("rocket", 260, 100, 113, 75, 2)
    for name, im in [("astronaut", a), ("coffee", c), ("chelsea", k), ("rocket", r)]:
        yield name + "-420-q90", cjpeg(im, "-quality", "90", "-sample", "2x2")
        yield name + "-420-progressive", cjpeg(im, "-quality", "85", "-sample", "2x2", "-progressive")
    for s in ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3", "3x2"]:
        yield "sample-" + s, cjpeg(a, "-quality", "80", "-sample", s)
        yield "progressive-" + s, cjpeg(k, "-quality", "60", "-sample", s, "-progressive")
    for s in ["2x2,1x2,1x2", "2x2,2x1,2x1", "2x2,2x1,1x2", "2x2,2x2,1x1", "2x4,1x1,1x1", "4x1,1x1,2x1", "1x2,1x1,1x2", "4x1,2x1,1x1", "1x1,2x2,1x1"]:
        yield "sample-" + s, cjpeg(a, "-quality", "75", "-sample", s)
    for q in [1, 10, 30, 50, 95, 100]:
        yield "quality-%d" % q, cjpeg(k, "-quality", str(q), "-sample", "2x2")
    yield "optimized", cjpeg(k, "-quality", "90", "-optimize")
    yield "restart-1-block", cjpeg(a, "-quality", "85", "-restart", "1B")
    yield "restart-1-row", cjpeg(k, "-quality", "85", "-restart", "1")
    yield "restart-3-blocks-progressive", cjpeg(k, "-quality", "85", "-restart", "3B", "-progressive")
    yield "grey", cjpeg(c, "-quality", "90", "-grayscale")
    yield "grey-progressive", cjpeg(k, "-quality", "90", "-grayscale", "-progressive")
    yield "grey-sampled-2x2", cjpeg(a, "-quality", "90", "-grayscale", "-sample", "2x2")
    yield "grey-restart", cjpeg(a, "-quality", "90", "-grayscale", "-restart", "5B", "-sample", "1x2")
    yield "rgb-adobe", adobe(cjpeg(a, "-quality", "85", "-rgb"), 0)
    yield "rgb-component-ids", without(cjpeg(a, "-quality", "85", "-rgb"), 0xEE, 0xE0)
    yield "rgb-progressive", cjpeg(a, "-quality", "85", "-rgb", "-progressive")
    yield "rgb-data-called-jfif", join([(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")] + segments(adobe(cjpeg(a, "-rgb"), 0))[0], segments(cjpeg(a, "-rgb"))[1])
    yield "ycc-adobe", adobe(cjpeg(a, "-quality", "85"), 1)
    yield "ycc-no-marker", without(cjpeg(a, "-quality", "85"), 0xE0)
    cmyk = k.convert("RGB").convert("CMYK")
    yield "cmyk", pillow(cmyk, quality=85)
    yield "cmyk-progressive", pillow(cmyk, quality=85, progressive=True)
    yield "cmyk-no-marker", without(pillow(cmyk, quality=85), 0xEE, 0xE0)
    yield "ycck", adobe(pillow(cmyk, quality=85), 2)
    yield "ycck-420", adobe(pillow(cmyk, quality=85, subsampling=2), 2)
    yield "ycck-unknown-transform", adobe(pillow(cmyk, quality=85), 1)
    yield "16-bit-tables", cjpeg(k, "-quality", "1", "-sample", "2x1")
    yield "no-huffman-tables", without(cjpeg(a, "-quality", "85"), 0xC4)
    yield "non-interleaved", cjpeg(k, "-quality", "85", "-scans", scans("0;\n1;\n2;\n"), "-sample", "2x2")
    yield "partly-interleaved", cjpeg(k, "-quality", "85", "-scans", scans("0;\n1 2;\n"), "-sample", "2x1")
    yield "non-interleaved-restart", cjpeg(k, "-scans", scans("0;\n2;\n1;\n"), "-restart", "7B", "-sample", "1x2")
    fine = "0 1 2: 0-0, 0, 3;\n0 1 2: 0-0, 3, 2;\n0: 1-9, 0, 3;\n1: 1-63, 0, 2;\n2: 1-63, 0, 1;\n0: 10-63, 0, 3;\n0: 1-63, 3, 2;\n0 1 2: 0-0, 2, 1;\n" \
        "1: 1-63, 2, 1;\n0: 1-63, 2, 1;\n0 1 2: 0-0, 1, 0;\n0: 1-63, 1, 0;\n1: 1-63, 1, 0;\n2: 1-63, 1, 0;\n"
    yield "successive-approximation", cjpeg(k, "-quality", "95", "-progressive", "-scans", scans(fine))
    yield "spectral-selection", cjpeg(k, "-quality", "95", "-progressive", "-scans", scans("".join("%d: 0-0, 0, 0;\n" % i for i in range(3)) + "".join("%d: %d-%d, 0, 0;\n" % (i, lo, hi) for lo, hi in [(1, 2), (3, 20), (21, 62), (63, 63)] for i in range(3))))
    yield "transposed-422", jpegtran(cjpeg(a, "-sample", "2x1"), "-transpose")
    for w, h in [(1, 1), (2, 2), (3, 3), (5, 4), (4, 5), (7, 9), (8, 8), (9, 7), (15, 17), (16, 16), (17, 15), (33, 1), (1, 33)]:
        yield "size-%dx%d-420" % (w, h), cjpeg(k.crop((20, 20, 20 + w, 20 + h)), "-quality", "90", "-sample", "2x2")
        yield "size-%dx%d-422" % (w, h), cjpeg(k.crop((20, 20, 20 + w, 20 + h)), "-quality", "90", "-sample", "2x1", "-progressive")
        yield "size-%dx%d-440" % (w, h), cjpeg(k.crop((20, 20, 20 + w, 20 + h)), "-quality", "90", "-sample", "1x2")
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (41, 43, 3), dtype=np.uint8))
    yield "noise-q100", cjpeg(noise, "-quality", "100", "-sample", "1x1")
    yield "noise-q5", cjpeg(noise, "-quality", "5", "-sample", "2x2")
    b = cjpeg(a, "-quality", "85")
    yield "trailing-bytes", b + b"trailing bytes \xff\xd8"
    yield "padding-before-marker", b[:2] + b"\xff\xff\xff" + b[2:]
    segs, rest = segments(b)
    yield "unknown-segment", join(segs[:1] + [(0xED, b"\xff\xd9" * 20), (0xFE, b"comment")] + segs[1:], rest)
    p = cjpeg(k, "-quality", "70", "-progressive", "-sample", "2x2")
    starts = [i for i in range(len(p) - 1) if p[i : i + 2] == b"\xff\xda"]
    tables = [i for i in range(len(p) - 1) if p[i : i + 2] == b"\xff\xc4"]
    for n in range(1, len(starts)):
        end = max(i for i in tables + starts if i < starts[n] and i > starts[n - 1]) if any(starts[n - 1] < i < starts[n] for i in tables) else starts[n]
        yield "incomplete-%d-scans" % n, p[:end] + b"\xff\xd9"
    g = cjpeg(a, "-quality", "40", "-progressive", "-grayscale")
    yield "incomplete-grey", g[: g.index(b"\xff\xc4", g.index(b"\xff\xda"))] + b"\xff\xd9"
    # Bytes of the image data changed: Pillow shows what libjpeg makes of them.
    rng = np.random.default_rng(7)
    for n in range(16):
        d = bytearray(cjpeg(a, "-quality", "70", *[["-sample", "1x1"], ["-sample", "2x2"], ["-progressive"], ["-restart", "1"]][n % 4]))
        start = d.index(b"\xff\xda") + 14
        for _ in range(1 + n // 8):
            at = int(rng.integers(start, len(d) - 2))
            if d[at] != 0xFF and d[at - 1] != 0xFF:
                d[at] = int(rng.integers(0, 255))
        yield "damaged-%d" % n, bytes(d)
    # What Pillow refuses has its error instead of pixels.
    yield "cut-end-marker", b[:-2]
    yield "cut-half", b[: len(b) // 2]
    yield "cut-header", b[:200]
    p = cjpeg(a, "-quality", "85", "-progressive")
    yield "cut-progressive", p[: len(p) * 3 // 4]
    yield "cut-progressive-end-marker", p[:-2]
    yield "unsupported-arithmetic", cjpeg(a, "-arithmetic")


def main():
    out = []
    for name, data in cases():
        case = {"name": name, "jpeg": base64.b64encode(data).decode()}
        try:
            im = Image.open(io.BytesIO(data))
            im.load()
            case |= {"mode": im.mode, "width": im.width, "height": im.height, "sha256": hashlib.sha256(im.tobytes()).hexdigest()}
            if name.startswith("unsupported-"):  # Pillow reads it, this package does not
                case = {"name": name, "jpeg": case["jpeg"], "error": "not read by choice"}
        except Exception as e:
            case["error"] = "%s: %s" % (type(e).__name__, str(e).split(" <")[0])
        out.append(case)
    doc = {"pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo"), "cases": out}
    with open(OUT, "w") as f:
        json.dump(doc, f, indent=0)
        f.write("\n")
    for c in out:
        if "error" in c:
            print(c["name"], c["error"])
    print(len(out), "cases,", os.path.getsize(OUT), "bytes")


main()
