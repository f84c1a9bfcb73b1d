"""Records what Triton answers to restricted API groups: python restricted.py [ROOT], as record.py.

A server whose groups all need a header of their own gets every group's request three times: without the header,
with another value and with the right one. restricted.json holds method or path, header and what came back.
"""

import http.client
import json
import os
import sys
import tempfile

import grpc

import calls
import server

GROUPS = ("health", "metadata", "inference", "shared-memory", "model-config", "model-repository", "statistics", "trace", "logging")
HTTP = [("GET", "/v2/health/live"), ("GET", "/v2/health/ready"), ("GET", "/v2/models/simple/ready"), ("GET", "/v2"), ("GET", "/v2/models/simple"),
        ("POST", "/v2/models/simple/infer"), ("GET", "/v2/systemsharedmemory/status"), ("GET", "/v2/cudasharedmemory/status"),
        ("GET", "/v2/models/simple/config"), ("POST", "/v2/repository/index"), ("POST", "/v2/repository/models/simple/load"),
        ("GET", "/v2/models/stats"), ("GET", "/v2/models/simple/stats"), ("GET", "/v2/trace/setting"), ("GET", "/v2/models/simple/trace/setting"),
        ("GET", "/v2/logging"), ("DELETE", "/v2/logging"), ("GET", "/v2/models/nope"), ("GET", "/v2/models/simple/infer"), ("GET", "/v2/nothing")]
GRPC = ["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer", "SystemSharedMemoryStatus",
        "CudaSharedMemoryStatus", "ModelConfig", "RepositoryIndex", "RepositoryModelLoad", "ModelStatistics", "TraceSetting", "LogSettings"]


def over_http(port, method, path, header):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=header)
    answer = connection.getresponse()
    body = answer.read().decode()
    kind = answer.getheader("Content-Type")
    return {"method": method, "path": path, "header": header, "status": answer.status, "type": kind,
            "body": body if answer.status == 403 else ""}


def over_grpc(channel, method, service, header):
    name = f"/{service}/{method}"
    code, message = 0, ""
    try:
        if method == "ModelStreamInfer":
            list(channel.stream_stream(name)(iter([]), metadata=header, timeout=20))
        else:
            channel.unary_unary(name)(b"", metadata=header, timeout=20)
    except grpc.RpcError as e:
        code, message = e.code().value[0], e.details() or ""
    return {"method": name, "header": dict(header), "code": code, "message": message}


def options(flag, pairs):
    return [f"--{flag}={groups}:{key}={value}" for groups, key, value in pairs]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    server.NOT_LOADED |= {m for m in os.listdir(f"{server.HERE}/models") if m != "simple"}
    groups = [(g, f"key-{g}", f"value-{g}") for g in GROUPS if g not in ("trace", "logging")] + [("trace,logging", "key-both", "value-both")]
    port = 20500 + os.getpid() % 400
    out = {"groups": groups, "http": [], "grpc": []}
    right = {key: value for _, key, value in groups}
    flags = options("http-restricted-api", groups) + options("grpc-restricted-protocol", groups)
    with server.Triton(root, port, port + 1, port + 2, flags, right) as triton:
        for method, path in HTTP:
            for header in ({}, {k: "wrong" for k in right}, right):
                out["http"].append(over_http(port, method, path, header))
        with grpc.insecure_channel(f"127.0.0.1:{port + 1}") as channel:
            for method in GRPC + ["Check"]:
                service = "grpc.health.v1.Health" if method == "Check" else "inference.GRPCInferenceService"
                for header in ([], [(f"triton-grpc-protocol-{k}", "wrong") for k in right], [(f"triton-grpc-protocol-{k}", v) for k, v in right.items()]):
                    out["grpc"].append(over_grpc(channel, method, service, header))
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/restricted.json", "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


main()
