"""What the baselines share: the cache folder, virtual environments, and weights that Vitrine has too."""
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vitrine", "baselines")


def say(text):
    print(text, file=sys.stderr, flush=True)


def environment(name, packages):
    """The interpreter of a virtual environment that has the packages; it is made when it is not there or they changed."""
    folder = os.path.join(CACHE, name)
    python, stamp = os.path.join(folder, "bin", "python"), os.path.join(folder, "packages.txt")
    wanted = "\n".join(packages) + "\n"
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return python
    say(f"installing {' '.join(packages)} into {folder}")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
    with open(stamp, "w") as out:  # last, so that an interrupted installation is done again
        out.write(wanted)
    return python


def vitrine():
    """A vitrine binary: $VITRINE, else built from this tree."""
    if named := os.environ.get("VITRINE"):
        return named
    if not shutil.which("go"):
        raise SystemExit("set VITRINE to the vitrine binary: there is no Go compiler to build one")
    binary = os.path.join(CACHE, "vitrine")
    os.makedirs(CACHE, exist_ok=True)
    subprocess.run(["go", "build", "-o", binary, "./cmd/vitrine"], cwd=ROOT, env=dict(os.environ, CGO_ENABLED="0"), check=True)
    return binary


def synthetic_weights():
    """A folder in open_clip's format with the weights of Vitrine's --model synthetic (docs/synthetic-weights.md)."""
    folder = os.path.join(CACHE, "synthetic-1")
    if not os.path.exists(os.path.join(folder, "open_clip_model.safetensors")):
        partial = f"{folder}.{os.getpid()}"
        subprocess.run([vitrine(), "model", "export", "synthetic", "--output", partial], check=True, stdout=sys.stderr)
        os.rename(partial, folder)
    return folder


def worker(package, variable):
    """A program of this folder, such as ortworker: $variable names a binary of it, else it is built."""
    if named := os.environ.get(variable):
        return named
    if not shutil.which("go"):
        raise SystemExit(f"set {variable} to a binary of ./baselines/{package}: there is no Go compiler to build one")
    os.makedirs(CACHE, exist_ok=True)
    binary = os.path.join(CACHE, package)
    subprocess.run(["go", "build", "-o", binary, f"./baselines/{package}"], cwd=ROOT, env=dict(os.environ, CGO_ENABLED="0"), check=True)
    return binary


def cpu_name():
    """The processor's name, and those of its features that kernels choose by."""
    flags, name = set(), platform.processor()
    for line in open("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() == "flags":
            flags = set(value.split())
    return name, [f for f in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16") if f in flags]


def interval(ratios):
    """The median of ratios and its 95 % bootstrap interval."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[1949]


def revision():
    """The commit that is measured; $REVISION where the tree travels without its history."""
    named = os.environ.get("REVISION")
    return named or subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
