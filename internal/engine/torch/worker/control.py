"""The worker's side of Vitrine's PyTorch engine: takes orders on a socket, one JSON object a line, and answers each.

Images and embeddings lie in memory that both processes share; a line only says how many there are. What computes is
the source in the first order, which has a function

    load(order, weights, inputs, outputs) -> object with describe() -> dict and run(rows, format, profile=False) -> dict

The process ends with its socket: when the server is gone, so is the worker.
"""

import sys

sys.path[:] = [folder for folder in sys.path if folder]  # not what lies in the server's folder under a module's name

import json
import linecache
import mmap
import os
import socket
import traceback

CONTROL, SHARED, WEIGHTS = 3, 4, 5


class Failure(Exception):
    """An error with a kind that the server tells apart."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def opened(descriptor, flags):
    """The whole of a file as memory."""
    size = os.fstat(descriptor).st_size
    memory = mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(descriptor)
    return memory


def load(order):
    name, source = "<tower>", order.pop("source")
    # Without it a traceback, and torch.compile's messages, have no lines to show.
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope = {"__name__": "tower", "Failure": Failure}
    exec(compile(source, name, "exec"), scope)
    # Private: where weights are used as they lie, several workers share their pages and none can change them.
    weights = opened(WEIGHTS, mmap.MAP_PRIVATE)
    shared = opened(SHARED, mmap.MAP_SHARED)
    split = order["output_offset"]
    return scope["load"](order, weights, memoryview(shared)[:split], memoryview(shared)[split:])


def failure(error):
    """An exception as an answer; its traceback goes to standard error, which the server logs."""
    if not isinstance(error, Failure):
        traceback.print_exception(error)
    return {"ok": False, "kind": getattr(error, "kind", "failed"), "error": f"{type(error).__name__}: {error}"}


def main():
    control = socket.socket(fileno=CONTROL)
    for descriptor in (CONTROL, SHARED, WEIGHTS):
        os.set_inheritable(descriptor, False)  # compilers that are started must not keep the socket open
    stream = control.makefile("rwb")
    tower = None
    for line in stream:
        order = json.loads(line)
        fatal = False
        try:
            if tower is None:
                tower = load(order)
                answer = tower.describe()
            else:
                answer = tower.run(**order)
            answer["ok"] = True
        except Exception as error:  # whatever it is, the server is told
            answer = failure(error)
            fatal = tower is None or answer["kind"] == "lost"
        stream.write(json.dumps(answer).encode() + b"\n")
        stream.flush()
        if fatal:
            sys.exit(1)


main()
