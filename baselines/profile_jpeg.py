#!/usr/bin/env python3
"""Where a server's processor time goes while it embeds JPEGs with the null engine: shares by stage, from Go's profiler.

    baselines/profile_jpeg.py --record docs/records/jpeg-shares.jsonl
    baselines/profile_jpeg.py --table docs/records/jpeg-shares.jsonl

Needs Go, wrk and Pillow. A sample belongs to the first stage below whose pattern is anywhere on its stack, so that stages do not overlap;
what the access log and the metrics allocate is theirs, other allocation is the collector's.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import common
import compare_null

STAGES = [
    ("access log", r"telemetry\.AccessLog"),
    ("metrics", r"ObserveRequest|\*ModelMetrics\)\.Observe|\*Images\)\.executed"),
    ("libjpeg-turbo", r"jpeg\.\(\*Codec\)\.Decode|jpeg\.\(\*TurboLib\)"),
    ("resize and crop", r"preproc\.\(\*Pipeline\)\.place|preproc/resize\."),
    ("the image's headers", r"internal/preproc"),
    ("allocation and collector", r"runtime\.(mallocgc|gcBgMarkWorker|gcAssist|bgsweep|bgscavenge|gcStart|\(\*scavenge)"),
    ("queue and batch worker", r"internal/batcher\."),
    ("reading the body", r"front\.\(\*Exchange\)\.(Body|readBody)"),
    ("printing the answer", r"wire\.\(\*Response\)|embedapi\.append|oip.*\.output|service\.finishVector"),
    ("writing to the socket", r"net\.\(\*conn\)\.Write|net\.\(\*netFD\)\.Write"),
    ("net/http and reading its headers", r"net/http\.\(\*conn\)\.(readRequest|serve)|net\.\(\*conn\)\.Read|net/http\.\(\*connReader\)"),
    ("scheduler, timers and polling", r"runtime\."),
]
REQUESTS = {"POST /v2/models/openclip_vit_b32_jpeg/infer, raw, binary back": ("/v2/models/openclip_vit_b32_jpeg/infer", 0, "*/*"),
            "POST /embed, JSON back": ("/embed", None, "*/*"),
            "POST /embed, binary back": ("/embed", None, "application/octet-stream")}


def stage(stack):
    return next((name for name, pattern in STAGES if re.search(pattern, stack)), "the rest")


def shares(profile):
    """Seconds by stage of a CPU profile."""
    text = subprocess.run(["go", "tool", "pprof", "-traces", "-unit", "ms", profile], capture_output=True, text=True, check=True).stdout
    found = {}
    for block in re.split(r"^-+\+-+$", text, flags=re.M)[1:]:
        sample = re.search(r"^\s*([0-9.]+)ms\s", block, flags=re.M)
        if sample:
            name = stage(block)
            found[name] = found.get(name, 0) + float(sample.group(1)) / 1e3
    return found


def measure(binary, what, clients, a, folder):
    path, length, accept = REQUESTS[what]
    http, grpc, metrics = compare_null.free_ports(3)
    server = compare_null.Server("Vitrine", [binary, "serve", "--engine", "null", "--pprof", "--http", f"127.0.0.1:{http}",
                                             "--grpc", f"127.0.0.1:{grpc}", "--metrics", f"127.0.0.1:{metrics}"], http, grpc, None)
    try:
        body = os.path.join(folder, "image.jpg")
        with open(body, "wb") as file:
            file.write(compare_null.photograph())
        env = dict(os.environ, BODY=body, CONTENT_TYPE="image/jpeg", ACCEPT=accept)
        if length is not None:
            env["HEADER_LENGTH"] = str(length)
        load = ["wrk", "-t1", f"-c{clients}", f"-d{a.seconds + 2}s", "-s", os.path.join(common.HERE, "post.lua"), f"http://127.0.0.1:{http}{path}"]
        out = {}
        client = threading.Thread(target=lambda: out.update(text=subprocess.run(load, env=env, capture_output=True, text=True).stdout))
        client.start()
        time.sleep(1)
        profile = os.path.join(folder, "cpu.pprof")
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/debug/pprof/profile?seconds={a.seconds}") as answer, open(profile, "wb") as file:
            file.write(answer.read())
        client.join()
    finally:
        server.stop()
    got = json.loads(re.search(r"RESULT (.*)", out["text"]).group(1))
    if got["errors"]:
        raise SystemExit(f"{what}: {got['errors']} of {got['requests']} requests failed")
    seconds = shares(profile)
    total = sum(seconds.values())
    return {"request": what, "clients": clients, "body_bytes": got["sent_body"], "per_second": round(got["requests"] / got["seconds"]),
            "server_cpu_s": round(total, 3), "shares": {k: round(v / total, 4) for k, v in sorted(seconds.items(), key=lambda s: -s[1])}}


def table(path):
    lines = [json.loads(line) for line in open(path)]
    cells = [r for r in lines if "shares" in r]
    names = [name for name, _ in STAGES] + ["the rest"]
    names.sort(key=lambda n: -sum(c["shares"].get(n, 0) for c in cells))
    print("| share of the server's processor time | " + " | ".join(f"{c['request']}; {c['clients']} clients" for c in cells) + " |")
    print("|---|" + "---|" * len(cells))
    print("| requests/s, profiled | " + " | ".join(f"{c['per_second']:,}" for c in cells) + " |")
    for name in names:
        if any(c["shares"].get(name) for c in cells):
            print(f"| {name} | " + " | ".join(f"{c['shares'].get(name, 0) * 100:.1f} %" for c in cells) + " |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=int, default=6, help="of each profile (default 6)")
    p.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    p.add_argument("--binary", help="a vitrine to profile (default: built from this tree)")
    p.add_argument("--record", help="JSON Lines file to write")
    p.add_argument("--table", metavar="RECORD", help="print a record as a table and end")
    a = p.parse_args()
    if a.table:
        return table(a.table)
    with tempfile.TemporaryDirectory() as folder:
        binary = a.binary or os.path.join(folder, "vitrine")
        if not a.binary:
            subprocess.run(["go", "build", "-o", binary, "./cmd/vitrine"], cwd=common.ROOT, check=True)
        records = [{"machine": compare_null.machine(), "seconds": a.seconds}]
        for what in REQUESTS:
            for clients in a.clients:
                records.append(measure(binary, what, clients, a, folder))
                print(json.dumps(records[-1]), file=sys.stderr)
    if a.record:
        with open(a.record, "w") as file:
            file.writelines(json.dumps(r) + "\n" for r in records)


if __name__ == "__main__":
    main()
