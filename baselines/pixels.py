"""The images that engines are compared on: the same in Python and in Go, from nothing but their index."""
import numpy as np

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pixels(n, side=224):
    """uint8 [n, side, side, 3]: splitmix64 of the pixel's index, top byte."""
    with np.errstate(over="ignore"):
        z = (np.arange(n * side * side * 3, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(56)).astype(np.uint8).reshape(n, side, side, 3)


def planes(n, side=224):
    """float32 [n, 3, side, side], normalised."""
    x = (pixels(n, side).astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
