"""What the official client does over gRPC against the sample models: client.py HOST:PORT."""

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as shm

ADDRESS = sys.argv[1]
A = np.arange(16, dtype=np.int32).reshape(1, 16)
B = np.ones((1, 16), dtype=np.int32)


def inputs(module=triton):
    made = [module.InferInput("INPUT0", [1, 16], "INT32"), module.InferInput("INPUT1", [1, 16], "INT32")]
    made[0].set_data_from_numpy(A)
    made[1].set_data_from_numpy(B)
    return made


def check(result):
    assert (result.as_numpy("OUTPUT0") == A + B).all(), result.as_numpy("OUTPUT0")
    assert (result.as_numpy("OUTPUT1") == A - B).all(), result.as_numpy("OUTPUT1")


def control(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("simple")
    assert not client.is_model_ready("nope")
    assert client.get_server_metadata().name == "triton"
    assert client.get_model_metadata("simple").inputs[0].datatype == "INT32"
    assert client.get_model_config("simple").config.max_batch_size == 8
    assert "simple" in [m.name for m in client.get_model_repository_index().models]
    client.load_model("simple")
    client.update_trace_settings(settings={"trace_rate": "7"})
    assert client.get_trace_settings().settings["trace_rate"].value == ["7"]
    client.update_log_settings({"log_verbose_level": 1})
    assert client.get_log_settings().settings["log_verbose_level"].uint32_param == 1
    try:
        client.get_model_metadata("nope")
    except triton.InferenceServerException as e:
        assert e.status() == "StatusCode.NOT_FOUND", e.status()
    else:
        raise AssertionError("an unknown model has metadata")


def infer(client):
    for compression in (None, "gzip", "deflate"):
        check(client.infer("simple", inputs(), request_id="1", compression_algorithm=compression))
    one = client.infer("simple", inputs(), outputs=[triton.InferRequestedOutput("OUTPUT0", class_count=2)])
    assert [s.split(b":")[1] for s in one.as_numpy("OUTPUT0")[0]] == [b"15", b"14"], one.as_numpy("OUTPUT0")
    words = np.array([["a", "", "z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich"]], dtype=np.object_)
    strings = triton.InferInput("INPUT0", [1, 3], "BYTES")
    strings.set_data_from_numpy(words)
    got = client.infer("simple_identity", [strings]).as_numpy("OUTPUT0")
    assert [b.decode() for b in got[0]] == list(words[0]), got
    answers = queue.Queue()
    client.async_infer("simple", inputs(), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=30)
    assert error is None, error
    check(result)
    assert client.get_inference_statistics("simple").model_stats[0].inference_stats.success.count >= 5


def stream(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for model in ("simple", "nope", "simple"):
        client.async_stream_infer(model, inputs(), request_id=model)
    for fails in (False, True, False):
        result, error = answers.get(timeout=30)
        assert (error is not None) == fails, (result, error)
        if not fails:
            check(result)
    for value, first, last in ((5, True, False), (6, False, False), (7, False, True)):
        step = triton.InferInput("INPUT", [1, 1], "INT32")
        step.set_data_from_numpy(np.array([[value]], dtype=np.int32))
        client.async_stream_infer("simple_sequence", [step], sequence_id=1007, sequence_start=first, sequence_end=last)
    for _ in range(3):
        result, error = answers.get(timeout=30)
        assert error is None, error
    client.stop_stream()


def shared_memory(client):
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    size = A.nbytes
    into = shm.create_shared_memory_region("vitrine_in", "/vitrine_test_in", 2 * size)
    out = shm.create_shared_memory_region("vitrine_out", "/vitrine_test_out", size)
    try:
        shm.set_shared_memory_region(into, [A, B])
        client.register_system_shared_memory("in", "/vitrine_test_in", 2 * size)
        client.register_system_shared_memory("out", "/vitrine_test_out", size)
        assert set(client.get_system_shared_memory_status().regions) == {"in", "out"}
        asked = [triton.InferInput("INPUT0", [1, 16], "INT32"), triton.InferInput("INPUT1", [1, 16], "INT32")]
        asked[0].set_shared_memory("in", size)
        asked[1].set_shared_memory("in", size, offset=size)
        outputs = [triton.InferRequestedOutput("OUTPUT0"), triton.InferRequestedOutput("OUTPUT1")]
        outputs[0].set_shared_memory("out", size)
        result = client.infer("simple", asked, outputs=outputs)
        assert (shm.get_contents_as_numpy(out, np.int32, [1, 16]) == A + B).all()
        assert (result.as_numpy("OUTPUT1") == A - B).all()
        client.unregister_system_shared_memory()
        assert not client.get_system_shared_memory_status().regions
    finally:
        shm.destroy_shared_memory_region(into)
        shm.destroy_shared_memory_region(out)


async def asynchronous():
    async with triton_aio.InferenceServerClient(ADDRESS) as client:
        assert await client.is_server_ready()
        check(await client.infer("simple", inputs(triton_aio)))

        async def requests():
            for _ in range(3):
                yield {"model_name": "simple", "inputs": inputs(triton_aio)}

        count = 0
        async for result, error in client.stream_infer(requests()):
            assert error is None, error
            check(result)
            count += 1
        assert count == 3, count


with triton.InferenceServerClient(ADDRESS) as connection:
    for step in (control, infer, stream, shared_memory):
        step(connection)
        print(step.__name__, "passed", flush=True)
asyncio.run(asynchronous())
print("asyncio passed")
