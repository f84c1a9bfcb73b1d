"""Makes fastapi_errors.json: what a FastAPI service with the reference's request model answers to
requests that break it. Run with fastapi, httpx and python-multipart installed:

    python fastapi_errors.py > fastapi_errors.json
"""

import json
import sys

import fastapi
import pydantic
from fastapi import FastAPI, File, Form, UploadFile
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from typing import Annotated

app = FastAPI()


class EmbedRequest(BaseModel):
    images: list[str] = Field(min_length=1, max_length=4)
    model_name: str = "ViT-B-32"
    pretrained: str = "openai"
    normalize: bool = True
    partial: bool = False


@app.post("/embed/base64")
def base64_(request: EmbedRequest):
    return {"normalize": request.normalize, "count": len(request.images)}


@app.post("/embed/batch")
def batch(files: Annotated[list[UploadFile], File()], model_name: Annotated[str, Form()] = "ViT-B-32",
          normalize: Annotated[bool, Form()] = True):
    return {"normalize": normalize, "count": len(files)}


IMAGE = "aGVsbG8="
BODIES = {
    "empty": "",
    "missing field": "{}",
    "missing field, another there": '{"normalize":false}',
    "images null": '{"images":null}',
    "images a string": '{"images":"abc"}',
    "images an object": '{"images":{"0":"abc"}}',
    "images empty": '{"images":[]}',
    "images too many": '{"images":["%s","%s","%s","%s","%s"]}' % ((IMAGE,) * 5),
    "item a number": '{"images":["%s","%s",3]}' % (IMAGE, IMAGE),
    "item null": '{"images":[null]}',
    "items of three wrong types": '{"images":[1.5,true,["a"],"%s"]}' % IMAGE,
    "model a number": '{"images":["%s"],"model_name":7}' % IMAGE,
    "pretrained a list": '{"pretrained":["openai"],"images":["%s"]}' % IMAGE,
    "normalize a word": '{"images":["%s"],"normalize":"maybe"}' % IMAGE,
    "normalize a list": '{"images":["%s"],"normalize":[]}' % IMAGE,
    "normalize null": '{"images":["%s"],"normalize":null}' % IMAGE,
    "normalize two": '{"images":["%s"],"normalize":2}' % IMAGE,
    "normalize yes": '{"images":["%s"],"normalize":"yes"}' % IMAGE,
    "normalize 0": '{"images":["%s"],"normalize":0}' % IMAGE,
    "normalize 1.0": '{"images":["%s"],"normalize":1.0}' % IMAGE,
    "normalize Off": '{"images":["%s"],"normalize":"Off"}' % IMAGE,
    "two fields wrong, out of order": '{"partial":"x","model_name":1,"images":[2]}',
    "unknown field": '{"images":["%s"],"extra":{"a":[1,2]}}' % IMAGE,
    "a list": '["%s"]' % IMAGE,
    "a string": '"abc"',
    "a number": "12",
    "not JSON": "images=abc",
    "cut in a key": '{"ima',
    "cut after a key": '{"images"',
    "cut in an array": '{"images": ["%s"' % IMAGE,
    "cut in a string": '{"images": ["aGVs',
    "no colon": '{"images" ["a"]}',
    "no comma": '{"images": ["a" "b"]}',
    "trailing data": '{"images": ["a"]} x',
    "leading zero": '{"images": ["a"], "x": 01}',
    "control character": '{"images": ["a"], "x": "a\tb"}',
    "bad escape": '{"images": ["a"], "x": "a\\x"}',
}


def multipart(*parts, end=True):
    text = ""
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename else ""
        text += f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}\r\n'
    return text + ("--B--\r\n" if end else "")


FORMS = {
    "no parts": multipart(),
    "no files": multipart(("model_name", "", "ViT-B-32")),
    "normalize a word": multipart(("files", "a.jpg", "hello"), ("normalize", "", "maybe")),
    "good": multipart(("files", "a.jpg", "hello"), ("files", "b.jpg", "hello"), ("normalize", "", "false")),
}

client = TestClient(app, raise_server_exceptions=False)
cases = []


def ask(name, method, path, kind, body):
    headers = {"Content-Type": kind} if kind else {}
    r = client.request(method, path, content=body.encode(), headers=headers)
    cases.append({"name": name, "method": method, "path": path, "content_type": kind, "body": body,
                  "status": r.status_code, "allow": r.headers.get("allow", ""), "answer": r.json()})


for name, body in BODIES.items():
    ask(name, "POST", "/embed/base64", "application/json", body)
for name, body in FORMS.items():
    ask(name, "POST", "/embed/batch", "multipart/form-data; boundary=B", body)
ask("wrong method", "GET", "/embed/base64", "", "")
ask("no route", "GET", "/nowhere", "", "")

json.dump({"fastapi": fastapi.__version__, "pydantic": pydantic.VERSION, "cases": cases}, sys.stdout, indent=1)
print()
