"""Official clients through TLS and API keys: doors.py triton|openai HTTP GRPC CA KEY, the first two HOST:PORT."""

import sys

WHAT, HTTP, GRPC, CA, KEY = sys.argv[1:]
BEARER = {"authorization": f"Bearer {KEY}"}


def refused(call, *args, **more):
    """The message of a call that must be refused."""
    try:
        call(*args, **more)
    except Exception as e:  # every client has its own
        return str(e)
    raise AssertionError("let in without a key")


def triton():
    import gevent.ssl
    import tritonclient.grpc as tg
    import tritonclient.http as th

    context = lambda: gevent.ssl.create_default_context(cafile=CA)
    client = th.InferenceServerClient(HTTP, ssl=True, ssl_context_factory=context)
    assert client.is_server_live() and client.is_server_ready()
    assert "API key" in refused(client.get_server_metadata)
    assert client.get_server_metadata(headers=BEARER)["name"] == "triton"
    assert client.get_server_metadata(headers={"X-API-Key": KEY})["name"] == "triton"
    client.close()

    client = tg.InferenceServerClient(GRPC, ssl=True, root_certificates=CA)
    assert client.is_server_live() and client.is_server_ready()
    try:
        client.get_server_metadata()
    except tg.InferenceServerException as e:
        assert e.status() == "StatusCode.UNAUTHENTICATED", e
    else:
        raise AssertionError("let in without a key")
    assert client.get_server_metadata(headers=BEARER).name == "triton"
    assert client.get_server_metadata(headers={"x-api-key": KEY}).name == "triton"
    client.close()


def openai():
    import base64
    import io

    import httpx
    from openai import AuthenticationError, OpenAI
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    image = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    web = httpx.Client(verify=CA)
    client = OpenAI(base_url=f"https://{HTTP}/v1", api_key=KEY, http_client=web)
    model = client.models.list().data[0].id
    assert len(client.embeddings.create(model=model, input=[image]).data[0].embedding) > 0
    try:
        OpenAI(base_url=f"https://{HTTP}/v1", api_key="not-a-key", http_client=web).models.list()
    except AuthenticationError as e:
        assert "not valid" in str(e), e
    else:
        raise AssertionError("let in with another key")


{"triton": triton, "openai": openai}[WHAT]()
