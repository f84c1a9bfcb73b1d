"""Calls a server as Triton's official examples do, over HTTP and HTTP asyncio.

Usage: client.py HOST:PORT

It asserts what simple_http_{infer,async_infer,string_infer,sequence_sync_infer,shm,shm_string,health_metadata,
model_control}_client.py, simple_http_aio_infer_client.py and reuse_infer_objects_client.py assert.
"""

import asyncio
import os
import sys

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

ADDRESS = sys.argv[1]
A = np.arange(16, dtype=np.int32).reshape(1, 16)
B = np.ones((1, 16), np.int32)


def inputs(a=A, b=B, datatype="INT32", binary=True):
    i = [http.InferInput("INPUT0", [1, 16], datatype), http.InferInput("INPUT1", [1, 16], datatype)]
    i[0].set_data_from_numpy(a, binary_data=binary)
    i[1].set_data_from_numpy(b, binary_data=not binary)
    return i


def check(result, a=A, b=B):
    assert (result.as_numpy("OUTPUT0").astype(np.int32) == a + b).all()
    assert (result.as_numpy("OUTPUT1").astype(np.int32) == a - b).all()


def infer(c):
    for binary in (True, False):
        outputs = [http.InferRequestedOutput(f"OUTPUT{n}", binary_data=bool(n) == binary) for n in (0, 1)]
        for packed in (None, "gzip", "deflate"):
            r = c.infer("simple", inputs(binary=binary), outputs=outputs, request_id="r1",
                        request_compression_algorithm=packed, response_compression_algorithm=packed)
            check(r)
            assert r.get_response()["id"] == "r1"
        check(c.infer("simple", inputs(binary=binary)))
    for pending in [c.async_infer("simple", inputs()) for _ in range(8)]:
        check(pending.get_result())
    top = c.infer("simple", inputs(), outputs=[http.InferRequestedOutput("OUTPUT0", class_count=2)]).as_numpy("OUTPUT0")
    assert top.tolist() == [[b"16:15", b"15:14"]], top


def strings(c):
    text = np.array([str(v).encode() for v in range(16)], dtype=np.object_).reshape(1, 16)
    for binary in (True, False):
        check(c.infer("simple_string", inputs(text, text, "BYTES", binary)), A, A)
    nulls = np.array([[b"\x00a\xff", b""]], dtype=np.object_)
    i = http.InferInput("INPUT0", [1, 2], "BYTES")
    i.set_data_from_numpy(nulls)
    assert (c.infer("simple_identity", [i]).as_numpy("OUTPUT0") == nulls).all()


def sequences(c):
    for model in ("simple_sequence", "simple_dyna_sequence"):
        values, got = [11, 7, 5], []
        for n, v in enumerate(values):
            i = http.InferInput("INPUT", [1, 1], "INT32")
            i.set_data_from_numpy(np.full((1, 1), v, np.int32))
            r = c.infer(model, [i], sequence_id=1000, sequence_start=n == 0, sequence_end=n == 2)
            got.append(int(r.as_numpy("OUTPUT")[0][0]))
        assert got == [12, 7, 1005 if "dyna" in model else 5], got


def shared_memory(c):
    name = f"/vitrine_{os.getpid()}"
    given = shm.create_shared_memory_region("in", name + "_in", 128)
    taken = shm.create_shared_memory_region("out", name + "_out", 128)
    try:
        shm.set_shared_memory_region(given, [A, B])
        c.register_system_shared_memory("in", name + "_in", 128)
        c.register_system_shared_memory("out", name + "_out", 128)
        i, o = inputs(), [http.InferRequestedOutput(f"OUTPUT{n}") for n in (0, 1)]
        for n in (0, 1):
            i[n].set_shared_memory("in", 64, offset=64 * n)
            o[n].set_shared_memory("out", 64, offset=64 * n)
        c.infer("simple", i, outputs=o)
        assert (shm.get_contents_as_numpy(taken, np.int32, [1, 16]) == A + B).all()
        assert (shm.get_contents_as_numpy(taken, np.int32, [1, 16], offset=64) == A - B).all()
        assert [r["name"] for r in c.get_system_shared_memory_status()] == ["in", "out"]
        c.unregister_system_shared_memory()
        assert c.get_system_shared_memory_status() == []
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)


def manage(c):
    assert c.is_server_live() and c.is_server_ready() and c.is_model_ready("simple", "1")
    assert c.get_server_metadata()["name"] == "triton"
    assert c.get_model_metadata("simple")["inputs"][1] == {"name": "INPUT1", "datatype": "INT32", "shape": [-1, 16]}
    assert c.get_model_config("simple")["max_batch_size"] == 8
    assert {m["name"] for m in c.get_model_repository_index()} >= {"simple", "simple_string", "simple_sequence"}
    c.unload_model("simple_int8")
    assert not c.is_model_ready("simple_int8")
    c.load_model("simple_int8")
    assert c.is_model_ready("simple_int8")
    stats = c.get_inference_statistics("simple")["model_stats"][0]
    assert stats["inference_count"] == stats["inference_stats"]["success"]["count"] > 0
    assert c.update_trace_settings("simple", {"trace_rate": "3"})["trace_rate"] == "3"
    assert c.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    try:
        c.infer("none", inputs())
        raise AssertionError("a model that is not there answered")
    except InferenceServerException as e:
        assert e.message() == "Request for unknown model: 'none' is not found" and e.status() == "404", e


async def asynchronous():
    async with aio.InferenceServerClient(ADDRESS) as c:
        assert await c.is_server_ready()
        for r in await asyncio.gather(*(c.infer("simple", inputs(binary=n % 2 == 0)) for n in range(8))):
            check(r)


with http.InferenceServerClient(ADDRESS, concurrency=8) as client:
    for step in (infer, strings, sequences, shared_memory, manage):
        step(client)
asyncio.run(asynchronous())
