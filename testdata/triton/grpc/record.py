"""Records the gRPC corpus: python record.py [ROOT] needs the nvidia-pytriton and tritonclient wheels and a free /dev/shm.

Every call of calls.py goes to a fresh Triton; calls and answers are written to corpus.jsonl.gz, one JSON object a line:

    name      what the call is about
    method    its full name
    metadata  absent, or pairs that went with it
    send      the messages, protobuf in base64
    answers   the messages that came back, likewise
    code      the status code, message its text
    before    absent, or what the shared memory object held before the call, and after it
    compare   absent, "masked" or "code": see calls.py
    died      absent, or true: the call ended the server process, which was started again
"""

import base64
import gzip
import json
import os
import queue
import sys
import tempfile
import time

import grpc

import calls
import server

OBJECTS = ["/dev/shm" + key for key in calls.KEYS]
STREAMS = {"ModelStreamInfer"}


def text(b):
    return base64.b64encode(b).decode()


def memory(content=None):
    """Writes the first shared object's first bytes, or reads them."""
    with open(OBJECTS[0], "r+b") as f:
        return f.read(calls.REGION) if content is None else f.write(content)


def unary(channel, case):
    invoke = channel.unary_unary(case["method"])
    return [invoke(case["send"][0], metadata=case["metadata"], timeout=20)]


def stream(channel, case, answers):
    """Sends each message when the one before is answered; a call that fails leaves what came before in answers."""
    pending = queue.Queue()
    call = channel.stream_stream(case["method"])(iter(pending.get, None), metadata=case["metadata"], timeout=20)
    for message in case["send"]:
        pending.put(message)
        answers.append(next(call))
    pending.put(None)
    answers.extend(call)


def record(channel, case):
    entry = {"name": case["name"], "method": case["method"], "send": [text(m) for m in case["send"]]}
    for k in ("metadata", "compare"):
        if case[k]:
            entry[k] = case[k]
    if case["memory"] is not None:
        memory(case["memory"])
        entry["before"] = text(case["memory"])
    answers, code, message = [], 0, ""
    try:
        if case["method"].split("/")[-1] in STREAMS:
            stream(channel, case, answers)
        else:
            answers.extend(unary(channel, case))
    except StopIteration:
        pass
    except grpc.RpcError as e:
        code, message = e.code().value[0], e.details() or ""
    entry.update(answers=[text(a) for a in answers], code=code, message=message)
    if case["memory"] is not None:
        entry["after"] = text(memory())
    return entry


def run(root, todo, entries):
    """Makes calls to one server until they or it are at an end."""
    from_port = 21000 + os.getpid() % 5000
    with server.Triton(root, from_port, from_port + 1, from_port + 2) as triton:
        with grpc.insecure_channel(f"127.0.0.1:{from_port + 1}") as channel:
            while todo:
                case = todo.pop(0)
                entry = record(channel, case)
                entries.append(entry)
                if entry["code"] == 14:
                    time.sleep(1)
                if triton.process.poll() is not None:
                    entry["died"] = True
                    return


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    for path in OBJECTS:
        with open(path, "wb") as f:
            f.write(bytes(8192))
    todo, entries, starts = list(calls.CALLS), [], 0
    names = [c["name"] + c["method"] for c in todo]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    try:
        while todo and starts < 20:
            starts += 1
            os.makedirs(f"{root}/{starts}")
            try:
                run(f"{root}/{starts}", todo, entries)
            except server.NotReady as error:
                print(error, flush=True)
    finally:
        for path in OBJECTS:
            os.unlink(path)
    lines = "".join(json.dumps(e, separators=(",", ":")) + "\n" for e in entries)
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/corpus.jsonl.gz", "wb") as f:
        f.write(gzip.compress(lines.encode(), 9, mtime=0))
    print(len(entries), "calls with", starts, "starts;", "died:", [e["name"] for e in entries if e.get("died")])


main()
