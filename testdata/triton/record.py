"""Records the corpus: python record.py [ROOT] needs the nvidia-pytriton wheel and a free /dev/shm.

Every request of cases.py goes to a fresh Triton over a connection of its own;
requests and answers are written to corpus.jsonl.gz, one JSON object a line:

    name     what the case is about
    send     the pieces written, each {"text": ...} or, where it is not UTF-8, {"base64": ...}
    connections  absent, or how many send the same at once; answers are then in the order of their status
    answers  what came back: version, status, reason, headers in order, body
    end      "open", "closed" (by the server), "silent" (an answer is missing), "extra" (bytes nobody asked for)
             or "died": the request ended the server process, which is started again
    compare  absent, "masked" (counters and times vary), "status" or "record" (kept, not replayed)
"""

import concurrent.futures
import glob
import gzip
import json
import os
import socket
import sys
import tempfile
import time

import cases
import server
import wire

SHARED = ["/dev/shm" + key for key in cases.KEYS]


def shared_memory():
    for path in SHARED:
        with open(path, "wb") as f:
            f.write(cases.packed("INT32", cases.COUNT + cases.ONES) + bytes(8192 - 128))


def record(port, case):
    entry = {"name": case["name"], "send": [wire.encode(p) for p in case["pieces"]]}
    if case["compare"]:
        entry["compare"] = case["compare"]
    if case["bodiless"]:
        entry["bodiless"] = True
    if case["connections"] > 1:
        return {**entry, "connections": case["connections"], **together(port, case)}
    return {**entry, **wire.exchange(port, case["pieces"], case["expect"], case["bodiless"], case["timeout"])}


def together(port, case):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        todo = [pool.submit(wire.exchange, port, case["pieces"], 1) for _ in range(case["connections"])]
        done = [t.result() for t in todo]
    answers = sorted((d["answers"][0] for d in done), key=lambda a: a["status"])
    return {"answers": answers, "end": done[0]["end"]}


def unique():
    """Names are the replay's handles: the second of a name gets a number."""
    seen = {}
    for case in cases.CASES:
        n = seen[case["name"]] = seen.get(case["name"], 0) + 1
        if n > 1:
            case["name"] += f" #{n}"
        yield case


def write(entries):
    data = "".join(json.dumps(e, ensure_ascii=False, separators=(",", ":")) + "\n" for e in entries)
    with open(f"{server.HERE}/corpus.jsonl.gz", "wb") as f:
        f.write(gzip.compress(data.encode(), 9, mtime=0))


def ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    taken = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return taken


def dead(triton, entry):
    """Whether the case ended the server: an answer is missing and the process goes away."""
    if entry["answers"] and entry["end"] != "closed":
        return False
    for _ in range(20 if not entry["answers"] else 1):
        if triton.process.poll() is not None:
            return True
        time.sleep(0.1)
    return False


def run(root, todo, entries):
    """Sends cases to one server until they or it are at an end."""
    with server.Triton(root, *ports(3)) as triton:
        while todo:
            case = todo.pop(0)
            entry = record(triton.http, case)
            entries.append(entry)
            if dead(triton, entry):
                entry["end"] = "died"
                return


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    shared_memory()
    todo, entries, starts = list(unique()), [], 0
    total = len(todo)
    try:
        while todo:
            starts += 1
            os.makedirs(f"{root}/{starts}")
            try:
                run(f"{root}/{starts}", todo, entries)
            except server.NotReady as error:
                if starts == 20:
                    raise
                print(error, flush=True)
        write(entries)
    finally:
        for left in SHARED + glob.glob("/dev/shm/transcript*"):
            os.unlink(left)
    print(len(entries), "cases of", total, "with", starts, "starts")
    for e in entries:
        if e["end"] in ("silent", "extra", "died"):
            print(e["end"], "after", len(e["answers"]), "answers:", e["name"])


main()
