"""CUDA shared memory by the official client, against `vitrine serve --engine cuda --model synthetic`:
cuda_client.py GRPC-HOST:PORT HTTP-HOST:PORT. Needs a card, numpy, tritonclient[grpc] and cuda-python."""

import json
import sys
import urllib.error
import urllib.request

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.cuda_shared_memory as cudashm

GRPC, HTTP = sys.argv[1:3]
MODEL, DIM, IMAGE = "openclip_vit_b32", 512, (3, 224, 224)


def refused(call, text, code):
    try:
        call()
    except triton.InferenceServerException as e:
        assert e.message() == text and e.status() == f"StatusCode.{code}", (e.message(), e.status())
    else:
        raise AssertionError(f"not refused: {text}")


def post(path, body):
    """POSTs JSON; the status and the answer's text."""
    request = urllib.request.Request(f"http://{HTTP}{path}", json.dumps(body).encode() if body is not None else b"", method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def by_value(client, images):
    given = triton.InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images)
    return client.infer(MODEL, [given]).as_numpy("embedding")


def by_memory(client, shape, region, size, offset=0, into=None, room=0, at=0):
    given = triton.InferInput("image", shape, "FP32")
    given.set_shared_memory(region, size, offset)
    asked = triton.InferRequestedOutput("embedding")
    if into:
        asked.set_shared_memory(into, room, at)
    return client.infer(MODEL, [given], outputs=[asked])


def close(got, want):
    cosine = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    assert (cosine > 0.99999).all(), cosine


def main():
    client = triton.InferenceServerClient(GRPC)
    client.unregister_cuda_shared_memory()
    assert not client.get_cuda_shared_memory_status().regions
    images = np.random.default_rng(1).standard_normal((4, *IMAGE), dtype=np.float32)
    want = by_value(client, images)
    one, room = images[:1].nbytes, DIM * 4
    pictures = cudashm.create_shared_memory_region("pictures", images.nbytes, 0)
    answers = cudashm.create_shared_memory_region("answers", 4 * room, 0)
    tiny = cudashm.create_shared_memory_region("tiny", 64, 0)  # the driver puts small allocations side by side
    cudashm.set_shared_memory_region(pictures, [images])
    cudashm.set_shared_memory_region(answers, [np.full(4 * DIM, 7, np.float32)])
    handles = {r: cudashm.get_raw_handle(r) for r in (pictures, answers, tiny)}

    invalid = "failed to register shared memory region: invalid args"
    refused(lambda: client.register_cuda_shared_memory("x", handles[pictures], 999, 64), invalid, "INVALID_ARGUMENT")
    refused(lambda: client.register_cuda_shared_memory("x", b"QUFBQQ==", 0, 64), invalid, "INVALID_ARGUMENT")
    refused(lambda: client.register_cuda_shared_memory("x", handles[pictures], 0, 1 << 40),
            "failed to register shared memory region 'x': invalid args", "INVALID_ARGUMENT")
    client.register_cuda_shared_memory("pictures", handles[pictures], 0, images.nbytes)
    client.register_cuda_shared_memory("answers", handles[answers], 0, 4 * room)
    refused(lambda: client.register_cuda_shared_memory("answers", handles[answers], 0, 8),
            "shared memory region 'answers' already in manager", "ALREADY_EXISTS")
    handle = {"raw_handle": {"b64": handles[tiny].decode()}, "device_id": 0, "byte_size": 64}
    assert post("/v2/cudasharedmemory/region/tiny/register", handle) == (200, "")
    regions = client.get_cuda_shared_memory_status().regions
    assert {n: (r.device_id, r.byte_size) for n, r in regions.items()} == {
        "pictures": (0, images.nbytes), "answers": (0, 4 * room), "tiny": (0, 64)}, regions

    result = by_memory(client, [4, *IMAGE], "pictures", images.nbytes, into="answers", room=4 * room)
    assert not any(result.get_response().raw_output_contents)  # it is in the region only
    close(cudashm.get_contents_as_numpy(answers, np.float32, [4, DIM]), want)
    # The third image from the middle of its region, into the middle of another; the rest stays as it is.
    cudashm.set_shared_memory_region(answers, [np.full(4 * DIM, 7, np.float32)])
    by_memory(client, [1, *IMAGE], "pictures", one, 2 * one, "answers", room, room)
    got = cudashm.get_contents_as_numpy(answers, np.float32, [4, DIM])
    close(got[1:2], want[2:3])
    assert (got[[0, 2, 3]] == 7).all()
    close(by_memory(client, [2, *IMAGE], "pictures", 2 * one, one).as_numpy("embedding"), want[1:3])
    for _ in range(200):  # written by this process, read by the other, at once
        n = np.random.randint(4)
        cudashm.set_shared_memory_region(pictures, [images[n]])
        by_memory(client, [1, *IMAGE], "pictures", one, into="answers", room=room)
        close(cudashm.get_contents_as_numpy(answers, np.float32, [4, DIM])[:1], want[n : n + 1])

    refused(lambda: by_memory(client, [1, *IMAGE], "pictures", one, 4 * one), "Invalid offset for shared memory region: 'pictures'", "INVALID_ARGUMENT")
    beyond = "Invalid offset + byte size for shared memory region: 'pictures'"
    refused(lambda: by_memory(client, [1, *IMAGE], "pictures", one, 3 * one + 4), beyond, "INVALID_ARGUMENT")
    refused(lambda: by_memory(client, [1, *IMAGE], "pictures", one, into="answers", room=room, at=3 * room + 4),
            "Invalid offset + byte size for shared memory region: 'answers'", "INVALID_ARGUMENT")
    assert client.is_server_ready()

    client.unregister_cuda_shared_memory("pictures")
    refused(lambda: by_memory(client, [1, *IMAGE], "pictures", one), "Unable to find shared memory region: 'pictures'", "NOT_FOUND")
    client.register_cuda_shared_memory("pictures", handles[pictures], 0, images.nbytes)
    close(by_memory(client, [1, *IMAGE], "pictures", one, 3 * one).as_numpy("embedding"), want[3:])
    assert post("/v2/cudasharedmemory/unregister", None) == (200, "")
    assert not client.get_cuda_shared_memory_status().regions
    print("CUDA shared memory: good")


main()
