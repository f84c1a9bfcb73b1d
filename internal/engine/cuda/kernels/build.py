#!/usr/bin/env python3
"""Compiles the kernels ahead of time: machine code for the cards that are known, PTX for the others.

`make kernels` runs it. The compiler comes from PyPI into a virtual environment beside this file (or the one
that --venv names); no CUDA toolkit and no GPU is needed. Writes bin/<target>/<unit>.gz and
bin/manifest.json, which a test compares with the sources.
"""

import argparse
import concurrent.futures
import glob
import gzip
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
]
FLAGS = ["--std=c++17", "-O3", "-Werror", "all-warnings"]

# sm_90a alone has warpgroup products; the other targets have the mma.sync product only.
PORTABLE = ["attention", "norm", "patch", "resize", "gemm_f32", "gemm_sm80"]
TARGETS = {
    "sm_80": ("-gencode=arch=compute_80,code=sm_80", "-cubin", PORTABLE),
    "sm_86": ("-gencode=arch=compute_86,code=sm_86", "-cubin", PORTABLE),
    "sm_89": ("-gencode=arch=compute_89,code=sm_89", "-cubin", PORTABLE),
    "sm_90a": ("-gencode=arch=compute_90a,code=sm_90a", "-cubin", PORTABLE + ["gemm_sm90_f16", "gemm_sm90_bf16", "gemm_sm90_e4m3", "gemm_sm90_copy"]),
    "compute_80": ("-arch=compute_80", "-ptx", PORTABLE),
    "compute_90": ("-arch=compute_90", "-ptx", PORTABLE),
}


def compiler(where):
    if not list(where.glob("lib/python*/site-packages/nvidia/cu13/bin/nvcc")):
        venv.create(where, with_pip=True)
        subprocess.run([where / "bin/python", "-m", "pip", "install", "-q", "--no-deps", *PACKAGES], check=True)
    return next(where.glob("lib/python*/site-packages/nvidia/cu13/bin/nvcc"))


def sources(unit):
    """The unit's source, then every header of ours that it includes, directly or not, sorted."""
    found, todo = set(), [unit + ".cu"]
    while todo:
        new = set(re.findall(r'#include "([^"]+)"', (HERE / todo.pop()).read_text())) - found
        found |= new
        todo += new
    return [unit + ".cu"] + sorted(found)


def source_hash(unit):
    """SHA-256 over the unit's sources, each with its name."""
    h = hashlib.sha256()
    for name in sources(unit):
        h.update(name.encode() + b"\0" + (HERE / name).read_bytes() + b"\0")
    return h.hexdigest()


def compile_unit(nvcc, target, unit):
    arch, kind, _ = TARGETS[target]
    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp) / "out"
        r = subprocess.run([nvcc, arch, kind, *FLAGS, "-o", out, unit + ".cu"], cwd=HERE, capture_output=True, text=True)
        if r.returncode != 0:
            raise SystemExit(f"{target}/{unit}: {r.stdout}{r.stderr}")
        code = out.read_bytes()
    to = HERE / "bin" / target / (unit + ".gz")
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(gzip.compress(code, 9, mtime=0))
    return {
        "target": target,
        "unit": unit,
        "source": source_hash(unit),
        "code": hashlib.sha256(code).hexdigest(),
        "flags": " ".join([arch, kind, *FLAGS]),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--venv", type=pathlib.Path, default=HERE / ".venv", help="where the compiler is or goes")
    p.add_argument("--only", help="one target or unit; the rest of the manifest is kept")
    a = p.parse_args()
    nvcc = compiler(a.venv)
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[-3].strip()
    manifest = HERE / "bin/manifest.json"
    kept = {}
    if a.only and manifest.exists():
        kept = {(e["target"], e["unit"]): e for e in json.loads(manifest.read_text())["images"]}
    jobs = [(t, u) for t, (_, _, units) in TARGETS.items() for u in units if not a.only or a.only in (t, u, t + "/" + u)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for entry in pool.map(lambda j: compile_unit(nvcc, *j), jobs):
            kept[entry["target"], entry["unit"]] = entry
    images = [kept[k] for k in sorted(kept)]
    manifest.write_text(json.dumps({"compiler": version, "packages": PACKAGES, "images": images}, indent=1) + "\n")
    size = sum(os.path.getsize(f) for f in glob.glob(str(HERE / "bin/*/*.gz")))
    print(f"{len(jobs)} images compiled, {size / 1e6:.2f} MB in all", file=sys.stderr)


if __name__ == "__main__":
    main()
