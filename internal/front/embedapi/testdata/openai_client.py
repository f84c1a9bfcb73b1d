"""Asks a Vitrine server with OpenAI's official client. TestOfficialClient runs it against a model
whose embedding's first number is the length of the image in bytes:

    python openai_client.py http://127.0.0.1:8000/v1
"""

import base64
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)


def uri(data):
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


models = [m.id for m in client.models.list()]
assert "ViT-B-32" in models, models
assert client.models.retrieve("ViT-B-32").id == "ViT-B-32"
assert client.models.retrieve(models[-1]).id == models[-1]

# The client asks for base64 by itself and decodes it.
one = client.embeddings.create(model="ViT-B-32", input=uri(b"hello"))
assert one.object == "list" and one.model == "ViT-B-32" and one.usage.total_tokens == 0, one
assert [d.index for d in one.data] == [0] and one.data[0].embedding[0] == 5, one.data

for form in ("float", "base64"):
    two = client.embeddings.create(model=models[0], input=[uri(b"hello"), uri(b"longer one")], encoding_format=form, dimensions=4)
    assert [d.index for d in two.data] == [0, 1], two
    if form == "float":
        assert [d.embedding[0] for d in two.data] == [5, 10], two
    else:  # asked for by name, base64 is handed on as it is
        assert all(isinstance(d.embedding, str) for d in two.data), two

objects = client.post("/embeddings", cast_to=object, body={
    "model": "ViT-B-32", "input": [{"type": "image_url", "image_url": {"url": uri(b"hello")}}]})
assert objects["data"][0]["embedding"][0] == 5, objects


def refused(kind, code, param, **request):
    try:
        client.embeddings.create(**request)
    except kind as e:
        assert e.code == code and e.param == param, (e.code, e.param, e.body)
        return e
    raise AssertionError(f"not refused: {request}")


refused(openai.BadRequestError, "text_input_unsupported", "input", model="ViT-B-32", input="a photo of a cat")
refused(openai.BadRequestError, None, "input[1]", model="ViT-B-32", input=[uri(b"hello"), uri(b"bad image")])
refused(openai.BadRequestError, None, "dimensions", model="ViT-B-32", input=uri(b"hello"), dimensions=2)
refused(openai.NotFoundError, "model_not_found", "model", model="text-embedding-3-small", input=uri(b"hello"))
print("all answers as expected")
