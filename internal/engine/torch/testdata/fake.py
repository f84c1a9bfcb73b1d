"""A tower of Python's own: what supervision is tested with where there is no torch.

An embedding is four sums over bytes of the image, at strides that tell images apart. Some images are orders: see act.
"""

import os
import signal
import struct
import time


def act(pixels, state):
    """The first seven bytes may say what goes wrong."""
    order = bytes(pixels[:7])
    if order == b"die now":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == b"exit :)":
        print("I have seen enough", flush=True)
        os._exit(7)
    if order == b"hang...":
        print("I hang", flush=True)
        signal.pause()
    if order == b"slowly.":
        print("I am slow", flush=True)
        time.sleep(0.3)
    if order == b"raise !":
        raise ValueError("this image is cursed")
    if order == b"no room":
        raise Failure("exhausted", "out of memory")
    if order == b"lost it":
        raise Failure("lost", "the device fell off the bus")
    if order == b"rubbish":
        os.write(3, b"this is not JSON\n")
    if order == b"who?...":
        return os.getpid()
    return 0


class Fake:
    def __init__(self, order, weights, inputs, outputs):
        self.order, self.inputs, self.outputs = order, inputs, outputs
        self.size = order["config"]["image_size"] ** 2 * 3
        if order["config"]["patch_size"] == 13:
            raise Failure("no_torch", "No module named 'torch'")
        head = int.from_bytes(weights[:8], "little")
        if b"visual.conv1.weight" not in bytes(weights[8 : 8 + head]):
            raise ValueError("these are no weights")
        if os.environ.get("FAKE_TOWER_FAILS_ONCE_REPLACED") and os.path.exists(os.environ["FAKE_TOWER_FAILS_ONCE_REPLACED"]):
            raise ValueError("not again")

    def describe(self):
        precision = self.order["precision"]
        return {
            "device": "cpu",
            "precision": "fp32" if precision == "auto" else precision,
            "variant": f"fake, {self.order['threads']} threads",
            "host_bytes": 1,
            "device_bytes": 0,
        }

    def run(self, rows, format, profile=False):
        each = self.size * (4 if format == "float32" else 1)
        dim = self.order["config"]["embed_dim"]
        for i in range(rows):
            pixels = self.inputs[i * each : (i + 1) * each]
            pid = act(pixels, self)
            sums = [float(sum(pixels[k :: dim + 3]) % 9973 - 4986) for k in range(dim)]
            if pid:
                sums[0] = float(pid)
            struct.pack_into(f"={dim}f", self.outputs, 4 * dim * i, *sums)
        answer = {"input_ns": 1, "compute_ns": 2, "output_ns": 3}
        if profile:
            answer["operators"] = [
                {"name": "sum", "calls": rows, "total_ns": 10 * rows},
                {"name": "pack", "calls": rows, "total_ns": 7000},
            ]
        return answer


def load(order, weights, inputs, outputs):
    return Fake(order, weights, inputs, outputs)
