"""The corpus's requests, in the order in which they are sent: later ones see what earlier ones changed."""

import gzip
import json
import struct
import zlib

CASES = []
ELEMENTS = {"BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h",
            "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d"}


def raw(name, *pieces, expect=1, bodiless=False, timeout=3.0, compare=None, connections=1):
    """One connection, or several that send the same; `compare` names a looser comparison: "status", "masked" (counters) or "record" (not replayed)."""
    CASES.append(dict(name=name, pieces=[p.encode("latin-1") if isinstance(p, str) else p for p in pieces],
                      expect=expect, bodiless=bodiless, timeout=timeout, compare=compare, connections=connections))


def head(method, path, headers, length):
    fields = {"Host": "localhost", **({"Content-Length": length} if length is not None else {}), **headers}
    lines = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def get(path, name=None, headers={}, method="GET", **more):
    raw(name or f"{method} {path}", head(method, path, headers, None), bodiless=method == "HEAD", **more)


def post(path, body=b"", name=None, headers={}, method="POST", **more):
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body, separators=(",", ":"))
    body = body.encode("utf-8") if isinstance(body, str) else body
    raw(name or f"{method} {path}", head(method, path, headers, len(body)) + body, **more)


def packed(datatype, values):
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(v)) + v for v in values)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    return struct.pack(f"<{len(values)}{ELEMENTS[datatype]}", *values)


def tensor(name, datatype, shape, data=None, **parameters):
    t = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        t["data"] = data
    if parameters:
        t["parameters"] = parameters
    return t


def infer(model, name, inputs, version=None, headers={}, more={}, **fields):
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    body = {"inputs": inputs, **fields}
    post(path, body, f"{model}: {name}", headers, **more)


def binary(model, name, body, tail, length=None, headers={}, **more):
    """A JSON header and tensors behind it; `length` is the header that says where the one ends."""
    body = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    length = str(len(body)) if length is None else length
    fields = {"Inference-Header-Content-Length": length} if length != "" else {}
    post(f"/v2/models/{model}/infer", body + tail, f"{model}: {name}", {**fields, **headers}, **more)


VALUES = {
    "BOOL": [True, False, True, True],
    "UINT8": [0, 1, 127, 255], "UINT16": [0, 1, 256, 65535], "UINT32": [0, 1, 65536, 4294967295],
    "UINT64": [0, 1, 4294967296, 18446744073709551615],
    "INT8": [-128, -1, 0, 127], "INT16": [-32768, -1, 0, 32767], "INT32": [-2147483648, -1, 0, 2147483647],
    "INT64": [-9223372036854775808, -1, 0, 9223372036854775807],
    "FP16": [0.0, 1.0, -2.5, 65504.0], "FP32": [0.0, 1.5, -0.1, 3.4028235e38], "FP64": [0.0, 1.5, -0.1, 1.7e308],
    "BF16": [0.0, 1.0, -2.5, 3.0],
    "BYTES": [b"", b"a", b"\x00\xff", b"quote\" \\ \n \xc3\xa9"],
}


def routes():
    for path in ("/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/health", "/v2/health/", "/v2/health/other",
                 "/", "/v1", "/v2x", "/metrics", "/v2/unknown", "/v2/models", "/v2/models/", "/v2/models/simple/",
                 "/v2/health/live/", "/v2/health/ready/", "//v2", "/v2?verbose=1", "/v2/health/live?x", "/V2", "/%76%32",
                 "/v2/models/simple/unknown", "/v2/models/simple/versions", "/v2/models/simple/versions/",
                 "/v2/models/simple/versions/1/unknown", "/v2/models/simple/versions/1/"):
        get(path)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        post("/v2", b"", method=method)
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/simple", "/v2/models/simple/ready",
                 "/v2/models/simple/config", "/v2/models/simple/stats", "/v2/models/stats", "/v2/systemsharedmemory/status"):
        post(path, b"", compare="masked" if "stats" in path else None)
    for path in ("/v2/models/simple/infer", "/v2/repository/index", "/v2/repository/models/simple/load",
                 "/v2/systemsharedmemory/region/r/register", "/v2/models/simple/generate", "/v2/trace/setting/x"):
        get(path)
    for path in ("/v2", "/v2/health/live", "/v2/models/simple", "/v2/models/none"):
        get(path, method="HEAD")


def metadata():
    for m in ("simple", "simple_int8", "simple_string", "simple_identity", "simple_sequence", "openclip_vit_b32",
              "identity_bool", "identity_uint8", "identity_uint16", "identity_uint32", "identity_uint64", "identity_int8",
              "identity_int16", "identity_int32", "identity_int64", "identity_fp16", "identity_fp32", "identity_fp64",
              "identity_bf16", "identity_bytes", "nobatch_fp32", "nobatch_bytes", "variable", "classes", "deadline", "optional"):
        get(f"/v2/models/{m}")
    for m in ("simple", "simple_string", "simple_identity", "identity_fp16", "nobatch_fp32", "classes", "deadline",
              "openclip_vit_b32", "simple_sequence", "simple_dyna_sequence", "optional", "versions"):
        get(f"/v2/models/{m}/config")
    get("/v2/models/simple%5Fint8", "an escaped letter in a model's name")
    for v in ("1", "2", "0", "-1", "01", "abc", "1x", "99999999999999999999"):
        get(f"/v2/models/simple/versions/{v}")
    for v in ("1", "2", "abc"):
        get(f"/v2/models/simple/versions/{v}/ready")
        get(f"/v2/models/simple/versions/{v}/config")
        get(f"/v2/models/simple/versions/{v}/stats", compare="masked")
    for v in ("1", "2", "3"):
        get(f"/v2/models/versions/versions/{v}")
        infer("versions", f"version {v}", [tensor("INPUT0", "FP32", [1, 1], [10])], version=v)
    get("/v2/models/versions")
    get("/v2/models/versions/ready")
    infer("versions", "the newest", [tensor("INPUT0", "FP32", [1, 1], [10])])
    for m in ("none", "unloaded", "broken"):
        for tail in ("", "/ready", "/config", "/stats"):
            get(f"/v2/models/{m}{tail}")
        infer(m, "inference", [tensor("INPUT0", "FP32", [1, 1], [1])])
    get("/v2/models/simple/ready")


def datatypes():
    for t, values in VALUES.items():
        model, n = f"identity_{t.lower()}", len(values)
        data, plain = packed(t, values), t not in ("FP16", "BF16")
        texts = [v.decode("latin-1") if isinstance(v, bytes) else v for v in values]
        infer(model, "JSON in and out", [tensor("INPUT0", t, [1, n], texts)])
        body = {"inputs": [tensor("INPUT0", t, [1, n], binary_data_size=len(data))]}
        binary(model, "binary in, JSON out", body, data)
        binary(model, "binary in and out", {**body, "parameters": {"binary_data_output": True}}, data)
        binary(model, "raw", b"", data, "0")
        if plain:
            infer(model, "nested JSON", [tensor("INPUT0", t, [2, n // 2], [texts[:2], texts[2:]])])
            infer(model, "text where another type belongs", [tensor("INPUT0", t, [1, 1], [{}])])
            infer(model, "null", [tensor("INPUT0", t, [1, 1], [None])])
    for t, values in {"UINT8": [256, -1, 1.5, True, "1"], "INT8": [128, -129], "UINT16": [65536], "INT16": [-32769],
                      "UINT32": [4294967296, -1], "INT32": [2147483648, 1.0], "UINT64": [18446744073709551616, -1],
                      "INT64": [9223372036854775808], "BOOL": [1, 0, "true"], "FP32": [1, True, "1"], "BYTES": [1, True],
                      }.items():
        for v in values:
            infer(f"identity_{t.lower()}", f"element {v!r}", [tensor("INPUT0", t, [1, 1], [v])])
    for v in ("1e39", "-1e39", "1e-46", "1e400", "NaN", "Infinity", "0.1", "1E5", "-0.0", "123456789", "1e21", "1e-7",
              "16777217", "0.3333333333333333333333", "00.1", ".5", "5.", "+1", "0x10", "3.4028235677973366e38"):
        post("/v2/models/identity_fp32/infer", '{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,1],"data":[%s]}]}' % v,
             f"identity_fp32: element {v}")
    for v in ("0.1", "1e308", "5e-324", "1e21", "123456789012345680", "2.2250738585072014e-308"):
        post("/v2/models/identity_fp64/infer", '{"inputs":[{"name":"INPUT0","datatype":"FP64","shape":[1,1],"data":[%s]}]}' % v,
             f"identity_fp64: element {v}")
    floats = [1.0, -1.0, 1/3, 0.1, 100.0, 1e-5, 1e-6, 1e-7, 123456.789, 1e7, 1e8, 1e15, 1e16, 1e17, 1e20, 1e21, 1e22, 1e-45,
              1.17549435e-38, 3.4028235e38, 16777216.0, 0.00001234, 5e-10, 7.0e9]
    data = packed("FP32", floats)
    binary("identity_fp32", "digits", {"inputs": [tensor("INPUT0", "FP32", [1, len(floats)], binary_data_size=len(data))]}, data)
    binary("identity_fp64", "digits", {"inputs": [tensor("INPUT0", "FP64", [1, len(floats)], binary_data_size=2 * len(data))]},
           packed("FP64", floats))
    for name, v in (("infinity", b"\0\0\x80\x7f"), ("not a number", b"\0\0\xc0\x7f")):
        binary("identity_fp32", name + " printed", {"inputs": [tensor("INPUT0", "FP32", [1, 1], binary_data_size=4)]}, v)
    post("/v2/models/simple_identity/infer", '{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,5],"data":'
         '["\\u00e9\\n\\t\\"\\\\\\/","\\ud83d\\ude00","é😀","\\u0000","</script>\u007f"]}]}', "simple_identity: escapes")
    post("/v2/models/simple_identity/infer", '{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,1],"data":["\\ud800"]}]}',
         "simple_identity: half a surrogate pair")
    post("/v2/models/simple_identity/infer", b'{"inputs":[{"name":"INPUT0","datatype":"BYTES","shape":[1,1],"data":["\xff"]}]}',
         "simple_identity: text that is not UTF-8")


ONES = [1] * 16
COUNT = list(range(16))


def two(**changes):
    a, b = tensor("INPUT0", "INT32", [1, 16], COUNT), tensor("INPUT1", "INT32", [1, 16], ONES)
    return [{**a, **changes}, b]


def inference():
    infer("simple", "two outputs", two())
    infer("simple", "a batch of two", [tensor("INPUT0", "INT32", [2, 16], COUNT * 2), tensor("INPUT1", "INT32", [2, 16], [ONES, COUNT])])
    infer("simple", "with a version", two(), version=1)
    infer("simple", "of an unknown version", two(), version=7)
    infer("simple", "with an id", two(), id="request-1 \"é\"")
    infer("simple", "with an empty id", two(), id="")
    infer("simple", "with a number for id", two(), id=7)
    infer("simple", "one output", two(), outputs=[{"name": "OUTPUT1"}])
    infer("simple", "outputs in another order", two(), outputs=[{"name": "OUTPUT1"}, {"name": "OUTPUT0"}])
    infer("simple", "the same output twice", two(), outputs=[{"name": "OUTPUT1"}, {"name": "OUTPUT1"}])
    infer("simple", "an unknown output", two(), outputs=[{"name": "OUTPUT9"}])
    infer("simple", "no outputs named", two(), outputs=[])
    infer("simple", "an output without a name", two(), outputs=[{}])
    infer("simple", "outputs that are no list", two(), outputs={"name": "OUTPUT0"})
    infer("simple", "an output that is a string", two(), outputs=["OUTPUT0"])
    infer("simple", "int8 sums wrap", [tensor("INPUT0", "INT32", [1, 16], [2147483647] * 16), tensor("INPUT1", "INT32", [1, 16], ONES)])
    infer("simple_int8", "two outputs", [tensor("INPUT0", "INT8", [1, 16], COUNT), tensor("INPUT1", "INT8", [1, 16], ONES)])
    infer("simple_string", "two outputs", [tensor("INPUT0", "BYTES", [1, 16], [str(i) for i in COUNT]), tensor("INPUT1", "BYTES", [1, 16], ["1"] * 16)])
    infer("simple_identity", "three strings", [tensor("INPUT0", "BYTES", [1, 3], ["one", "", "three"])])
    infer("simple_identity", "a batch", [tensor("INPUT0", "BYTES", [2, 2], ["a", "b", "c", "d"])])
    infer("optional", "both inputs", [tensor("INPUT0", "FP32", [1, 1], [1]), tensor("INPUT1", "FP32", [1, 1], [2])])
    infer("optional", "one input", [tensor("INPUT0", "FP32", [1, 1], [1])])
    infer("failing", "an execution that fails", [tensor("INPUT0", "FP32", [1, 1], [1])])
    for value, title in ((True, "true"), (7, "a number"), (1.5, "a fraction"), ("x", "a string"), (None, "null"), ([1], "a list"), ({}, "an object")):
        infer("simple", f"parameter {title}", two(), parameters={"custom": value})
    infer("simple", "a reserved parameter", two(), parameters={"triton_x": 1})
    infer("simple", "parameters that are a list", two(), parameters=[])
    infer("simple", "an input's own parameter", two(parameters={"custom": 1}))
    infer("simple", "an unknown field", two(), extra={"deep": [1, 2]})
    for key, values in {"priority": [0, 1, -1, "x", 5], "timeout": [0, 1000000, -1, "x"], "sequence_id": [0, 5, "five", -1, True],
                        "sequence_start": [True, "x", 1], "sequence_end": [False, 1], "binary_data_output": [False, "x", 1]}.items():
        for v in values:
            infer("simple", f"{key} {v!r}", two(), parameters={key: v})


def broken():
    infer("simple", "no inputs", [])
    infer("simple", "one input of two", two()[:1])
    infer("simple", "an unexpected input", two() + [tensor("INPUT2", "INT32", [1, 16], ONES)])
    infer("simple", "an unknown input in place of one", [two()[0], tensor("INPUT9", "INT32", [1, 16], ONES)])
    infer("simple", "the same input twice", [two()[0], two()[0]])
    infer("simple", "another type than the model's", [tensor("INPUT0", "FP32", [1, 16], COUNT), two()[1]])
    infer("simple", "an unknown type", two(datatype="INT33"))
    infer("simple", "a lower-case type", two(datatype="int32"))
    infer("simple", "a type that is a number", two(datatype=1))
    infer("simple", "a missing type", [{k: v for k, v in two()[0].items() if k != "datatype"}, two()[1]])
    infer("simple", "a missing name", [{k: v for k, v in two()[0].items() if k != "name"}, two()[1]])
    infer("simple", "a name that is a number", two(name=1))
    infer("simple", "a missing shape", [{k: v for k, v in two()[0].items() if k != "shape"}, two()[1]])
    infer("simple", "missing data", [{k: v for k, v in two()[0].items() if k != "data"}, two()[1]])
    infer("simple", "data that is null", two(data=None))
    infer("simple", "data that is a number", two(data=1))
    infer("simple", "data that is a string", two(data="x"))
    infer("simple", "data that is an object", two(data={}))
    infer("simple", "empty data", two(data=[]))
    infer("simple", "too few numbers", two(data=COUNT[:15]))
    infer("simple", "too many numbers", two(data=COUNT + [1]))
    infer("simple", "uneven nesting", two(data=[COUNT[:8], COUNT[8:]]))
    infer("simple", "a list among numbers", two(data=COUNT[:15] + [[1]]))
    infer("simple", "deeply nested data", two(data=[[[[[COUNT]]]]]))
    for title, shape in (("a shape without the batch", [16]), ("another shape", [1, 15]), ("three dimensions", [1, 1, 16]), ("a negative dimension", [1, -16]),
                         ("minus one", [-1, 16]), ("a zero dimension", [0, 16]), ("an empty shape", []), ("a fraction", [1, 16.0]), ("a string", ["1", 16]),
                         ("a shape that is a number", 16), ("a huge dimension", [9223372036854775807, 16]), ("a dimension too large", [9223372036854775808, 16]),
                         ("a product that overflows", [4611686018427387904, 16]), ("a batch too large for its data", [8, 16])):
        infer("simple", title, two(shape=shape))
    infer("simple", "batches that differ", [two()[0], tensor("INPUT1", "INT32", [2, 16], ONES * 2)])
    infer("simple", "nine in a batch of eight", [tensor("INPUT0", "INT32", [9, 16], COUNT * 9), tensor("INPUT1", "INT32", [9, 16], ONES * 9)])
    infer("simple", "an input that is a number", [1])
    infer("identity_fp32", "no elements", [tensor("INPUT0", "FP32", [1, 0], [])])
    infer("nobatch_fp32", "two rows", [tensor("INPUT0", "FP32", [2, 2], [1, 2, 3, 4])])
    infer("nobatch_fp32", "another shape", [tensor("INPUT0", "FP32", [2, 3], [1, 2, 3, 4, 5, 6])])
    infer("variable", "two free dimensions", [tensor("INPUT0", "FP32", [2, 1, 3], [1, 2, 3, 4, 5, 6])])
    infer("openclip_vit_b32", "another size", [tensor("image", "FP32", [1, 3, 2, 2], [0] * 12)])
    path = "/v2/models/simple/infer"
    for name, body in (("an empty body", b""), ("null", "null"), ("a list", "[]"), ("a number", "1"), ("a string", '"x"'), ("an empty object", "{}"),
                       ("inputs that are an object", '{"inputs":{}}'), ("inputs that are null", '{"inputs":null}'), ("half a document", '{"inputs":[{"name":"INPUT0"'),
                       ("no document", "hello"), ("two documents", "{}{}"), ("a comment", '{"inputs":/* x */[]}'), ("a trailing comma", '{"inputs":[],}'),
                       ("single quotes", "{'inputs':[]}"), ("a byte order mark", b"\xef\xbb\xbf{}"), ("white space", "  \n\t "), ("a control character", '{"a":"\n"}'),
                       ("a bad escape", '{"a":"\\x"}'), ("a bad number", '{"a":01}'), ("a missing colon", '{"a" 1}'), ("a missing comma", '{"a":1 "b":2}'),
                       ("a key that is no string", "{1:1}"), ("zero bytes", b"\0\0"), ("a bad literal", '{"a":tru}')):
        post(path, body, f"body: {name}")
    for depth in (50, 98, 99, 100, 101, 1000):
        post(path, '{"inputs":[],"x":' + "[" * depth + "]" * depth + "}", f"body: {depth} brackets deep", compare="status" if depth == 1000 else None)
    post(path, '{"inputs":[],"inputs":%s}' % json.dumps(two()), "body: a key twice")
    post(path, json.dumps({"inputs": two()}, indent=3), "body: indented")


def tail():
    a, b = packed("INT32", COUNT), packed("INT32", ONES)
    inputs = [tensor("INPUT0", "INT32", [1, 16], binary_data_size=64), tensor("INPUT1", "INT32", [1, 16], binary_data_size=64)]
    full = {"inputs": inputs}
    binary("simple", "binary inputs", full, a + b)
    binary("simple", "one binary, one JSON", {"inputs": [inputs[0], two()[1]]}, a)
    binary("simple", "one JSON, one binary", {"inputs": [two()[0], inputs[1]]}, b)
    binary("simple", "one output binary", {**full, "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}, {"name": "OUTPUT1"}]}, a + b)
    binary("simple", "binary output overridden", {**full, "parameters": {"binary_data_output": True}, "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": False}}, {"name": "OUTPUT1"}]}, a + b)
    binary("simple", "binary_data that is no boolean", {**full, "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": "x"}}]}, a + b)
    binary("simple", "binary outputs with an id", {**full, "id": "7", "parameters": {"binary_data_output": True}}, a + b)
    binary("simple", "JSON inputs, binary outputs", {"inputs": two(), "parameters": {"binary_data_output": True}}, b"")
    infer("simple", "JSON request, binary outputs", two(), parameters={"binary_data_output": True})
    binary("simple", "no length header", full, a + b, length="")
    for value in ("-1", "abc", "", "99999", "99999999999999999999", "1", "12x", " 5", "0x10", "1.5"):
        binary("simple", f"length header {value!r}", full, a + b, length=value if value else " ")
    binary("simple", "a byte too many", full, a + b + b"x")
    binary("simple", "a byte too few", full, (a + b)[:-1])
    binary("simple", "nothing behind the header", full, b"")
    for value in (-1, 0, 63, 65, 128, "64", 1.5, True, None, 9223372036854775807):
        changed = [tensor("INPUT0", "INT32", [1, 16], binary_data_size=value), inputs[1]]
        binary("simple", f"binary_data_size {value!r}", {"inputs": changed}, a + b)
    binary("simple", "data and binary_data_size", {"inputs": [tensor("INPUT0", "INT32", [1, 16], COUNT, binary_data_size=64), inputs[1]]}, a + b)
    infer("simple", "binary_data_size without the length header", inputs)
    strings = packed("BYTES", [b"one", b"two"])
    for name, data in (("two strings", strings), ("a length past the end", b"\xff\0\0\0abc"), ("half a length", strings + b"\1\0"), ("one string too few", strings[:7]),
                       ("one string too many", strings + packed("BYTES", [b"x"])), ("a length of 4 GB", b"\xff\xff\xff\xff"), ("no bytes", b"")):
        binary("simple_identity", name, {"inputs": [tensor("INPUT0", "BYTES", [1, 2], binary_data_size=len(data))]}, data)
    post("/v2/models/nobatch_bytes/infer", b"\xff\xd8 any bytes", "nobatch_bytes: raw", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/nobatch_bytes/infer", b"", "nobatch_bytes: raw, empty", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/nobatch_fp32/infer", packed("FP32", [1, 2, 3, 4]), "nobatch_fp32: raw", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/nobatch_fp32/infer", packed("FP32", [1, 2, 3]), "nobatch_fp32: raw, uneven", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/identity_fp32/infer", b"12345", "identity_fp32: raw, five bytes", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/identity_fp32/infer", b"", "identity_fp32: raw, empty", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/variable/infer", packed("FP32", [1, 2]), "variable: raw, two free dimensions", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/simple/infer", a, "simple: raw, two inputs", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/openclip_vit_b32/infer", b"\0" * 602112, "openclip_vit_b32: raw", {"Inference-Header-Content-Length": "0"})
    post("/v2/models/openclip_vit_b32/infer", b"\0" * 602111, "openclip_vit_b32: raw, a byte short", {"Inference-Header-Content-Length": "0"})
    body = {"inputs": [tensor("image", "FP32", [2, 3, 224, 224], binary_data_size=1204224)]}
    binary("openclip_vit_b32", "two images, JSON out", body, b"\0" * 1204224)
    binary("openclip_vit_b32", "two images, binary out", {**body, "parameters": {"binary_data_output": True}}, b"\0" * 1204224)
    infer("openclip_vit_b32", "JSON", [tensor("image", "FP32", [1, 3, 224, 224], [0.5] * 150528)])
    big = [tensor("image", "FP32", [33, 3, 224, 224], binary_data_size=64)]
    binary("openclip_vit_b32", "33 images promised, few sent", {"inputs": big}, b"\0" * 64)


def classification():
    x = [tensor("INPUT0", "FP32", [2, 6], [0.1, 0.5, 0.2, 0.9, -1, 3, 6, 5, 4, 3, 2, 1])]
    for n in (1, 3, 0, 6, 99, -1, "x", True):
        infer("classes", f"the best {n!r}", x, outputs=[{"name": "OUTPUT0", "parameters": {"classification": n}}])
    infer("classes", "the best two, binary", x, outputs=[{"name": "OUTPUT0", "parameters": {"classification": 2, "binary_data": True}}])
    infer("classes", "equal values", [tensor("INPUT0", "FP32", [1, 6], [1, 1, 1, 1, 1, 1])], outputs=[{"name": "OUTPUT0", "parameters": {"classification": 3}}])
    infer("simple", "classes of integers", two(), outputs=[{"name": "OUTPUT0", "parameters": {"classification": 2}}])
    infer("identity_fp32", "classes without labels", [tensor("INPUT0", "FP32", [1, 3], [1, 3, 2])], outputs=[{"name": "OUTPUT0", "parameters": {"classification": 2}}])
    infer("simple_identity", "classes of strings", [tensor("INPUT0", "BYTES", [1, 2], ["a", "b"])], outputs=[{"name": "OUTPUT0", "parameters": {"classification": 1}}])
    infer("identity_bool", "classes of booleans", [tensor("INPUT0", "BOOL", [1, 2], [False, True])], outputs=[{"name": "OUTPUT0", "parameters": {"classification": 1}}])
    infer("nobatch_fp32", "classes without a batch", [tensor("INPUT0", "FP32", [1, 2], [1, 2])], outputs=[{"name": "OUTPUT0", "parameters": {"classification": 1}}])


def compression():
    body = json.dumps({"inputs": two()}).encode()
    path = "/v2/models/simple/infer"
    pack = {"gzip": gzip.compress(body, mtime=0), "deflate": zlib.compress(body)}
    for kind, data in pack.items():
        post(path, data, f"a body in {kind}", {"Content-Encoding": kind})
        post(path, data[:-9], f"half a body in {kind}", {"Content-Encoding": kind})
        post(path, body, f"a plain body called {kind}", {"Content-Encoding": kind})
        post(path, body, f"an answer in {kind}", {"Accept-Encoding": kind})
        post(path, data, f"both in {kind}", {"Accept-Encoding": kind, "Content-Encoding": kind})
    for kind in ("br", "identity", "GZIP", "gzip, deflate", "zstd", ""):
        post(path, body, f"a body in {kind!r}", {"Content-Encoding": kind})
    for accept in ("br", "identity", "*", "gzip;q=0", "gzip;q=0.5, deflate;q=0.8", "deflate;q=0.2, gzip;q=0.9", "gzip, deflate", "deflate, gzip", "br;q=1.0, gzip;q=0.1",
                   "identity;q=1, gzip;q=0.5", "GZIP", "gzip;q=x", ",,", "gzip;q=0, *"):
        post(path, body, f"an answer in {accept!r}", {"Accept-Encoding": accept})
    get("/v2/models/simple", "metadata in gzip", {"Accept-Encoding": "gzip"})
    post(path, "{}", "an error in gzip", {"Accept-Encoding": "gzip"})
    request = {"inputs": two(), "parameters": {"binary_data_output": True}}
    post(path, request, "a binary answer in gzip", {"Accept-Encoding": "gzip"})
    inputs = [tensor("INPUT0", "INT32", [1, 16], binary_data_size=64), tensor("INPUT1", "INT32", [1, 16], binary_data_size=64)]
    header = json.dumps({"inputs": inputs}).encode()
    post(path, gzip.compress(header + packed("INT32", COUNT + ONES), mtime=0), "binary tensors in gzip", {"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(header))})
    post("/v2/models/identity_fp32/infer", gzip.compress(packed("FP32", [1, 2]), mtime=0), "a raw body in gzip", {"Content-Encoding": "gzip", "Inference-Header-Content-Length": "0"})


def http():
    body = json.dumps({"inputs": two()}).encode()
    path = "/v2/models/simple/infer"
    chunk = lambda data: b"%x\r\n%s\r\n" % (len(data), data)
    opening = head("POST", path, {"Transfer-Encoding": "chunked"}, None)
    raw("a chunked body", opening + chunk(body) + b"0\r\n\r\n")
    raw("a chunked body in pieces", opening, chunk(body[:7]), chunk(body[7:8]), chunk(body[8:]), b"0\r\n\r\n")
    raw("a chunked body byte by byte", opening, *[chunk(body[i:i + 1]) for i in range(len(body))], b"0\r\n\r\n")
    raw("a chunk extension and a trailer", opening + b"%x;a=b\r\n" % len(body) + body + b"\r\n0\r\nX-T: 1\r\n\r\n")
    raw("a chunk length that is no number", opening + b"zz\r\n" + body + b"\r\n0\r\n\r\n", timeout=1.0)
    raw("both lengths", head("POST", path, {"Transfer-Encoding": "chunked"}, 5) + chunk(body) + b"0\r\n\r\n", timeout=1.0)
    raw("an unknown transfer encoding", head("POST", path, {"Transfer-Encoding": "gzip"}, None) + body, timeout=1.0)
    one = head("POST", path, {}, len(body)) + body
    raw("two requests after each other", one, one, expect=2)
    raw("three requests at once", one + one + one, expect=3, timeout=1.0)
    raw("two GETs at once", head("GET", "/v2", {}, None) * 2, expect=2, timeout=1.0)
    raw("Connection: close", head("POST", path, {"Connection": "close"}, len(body)) + body)
    raw("Connection: close on GET", head("GET", "/v2", {"Connection": "close"}, None))
    raw("HTTP/1.0", f"GET /v2 HTTP/1.0\r\n\r\n")
    raw("HTTP/1.0 with keep-alive", f"GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    raw("no Host", "GET /v2 HTTP/1.1\r\n\r\n")
    raw("two Hosts", "GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    raw("an absolute target", "GET http://localhost/v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    raw("lines that end in LF", "GET /v2 HTTP/1.1\nHost: localhost\n\n", timeout=1.0)
    raw("lower-case header names", b"POST " + path.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    raw("no version", "GET /v2\r\n\r\n", timeout=1.0)
    raw("another version", "GET /v2 HTTP/3.7\r\nHost: x\r\n\r\n", timeout=1.0)
    raw("an unknown method", "FETCH /v2 HTTP/1.1\r\nHost: x\r\n\r\n", timeout=1.0)
    raw("no HTTP", "hello\r\n\r\n", timeout=1.0)
    raw("a header without a colon", "GET /v2 HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", timeout=1.0)
    raw("a folded header", "GET /v2 HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", timeout=1.0)
    raw("a Content-Length that is no number", f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", timeout=1.0)
    raw("a negative Content-Length", f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", timeout=1.0)
    raw("two Content-Lengths", f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n" + "{}", timeout=1.0)
    raw("no Content-Length", f"POST {path} HTTP/1.1\r\nHost: x\r\n\r\n", timeout=1.0)
    raw("a body on GET", head("GET", "/v2", {}, 2) + b"{}")
    raw("a long header", head("GET", "/v2", {"X-Long": "x" * 8000}, None))
    raw("200 headers", head("GET", "/v2", {f"X-{i}": i for i in range(200)}, None))
    raw("a long path", head("GET", "/v2/" + "x" * 4000, {}, None))
    raw("a non-ASCII header", b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: \xff\xe9\r\n\r\n", timeout=1.0)
    raw("a zero in the path", b"GET /v2\0x HTTP/1.1\r\nHost: x\r\n\r\n", timeout=1.0)
    raw("a bad escape in the path", "GET /v2/models/%zz HTTP/1.1\r\nHost: x\r\n\r\n", timeout=1.0)
    raw("Expect: 100-continue", head("POST", path, {"Expect": "100-continue"}, len(body)) + body, expect=2, timeout=1.0)
    raw("an unknown Expect", head("POST", path, {"Expect": "nothing"}, len(body)) + body, timeout=1.0)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "multipart/form-data", ""):
        post(path, body, f"Content-Type {kind!r}", {"Content-Type": kind})
    post(path, body, "a client's own headers", {"X-Request-Id": "abc", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Accept": "text/html"})


KEYS = [f"/vitrine_transcript_{c}" for c in "abc"]  # each two pages: 0..15 as INT32, sixteen ones as INT32, then zeros


def memory():
    KEY, OTHER, FREE = KEYS
    sys, cuda = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
    register = lambda region, body, **k: post(f"{sys}/region/{region}/register", body, **k)
    get(f"{sys}/status")
    get(f"{sys}/region/none/status")
    register("all", {"key": KEY, "offset": 0, "byte_size": 256})
    register("all", {"key": KEY, "offset": 0, "byte_size": 256}, name="a region registered again")
    register("half", {"key": OTHER, "offset": 4096, "byte_size": 128})
    register("odd", {"key": FREE, "offset": 128, "byte_size": 128})
    get(f"{sys}/status")
    get(f"{sys}/region/half/status")
    for name, body in (("an unknown key", {"key": "/vitrine_none", "offset": 0, "byte_size": 16}), ("a region past the end", {"key": FREE, "offset": 0, "byte_size": 8193}),
                       ("an offset past the end", {"key": FREE, "offset": 8192, "byte_size": 1}), ("no key", {"byte_size": 1}), ("no size", {"key": FREE}), ("no offset", {"key": FREE, "byte_size": 16}),
                       ("a negative offset", {"key": FREE, "offset": -1, "byte_size": 1}), ("a negative size", {"key": FREE, "byte_size": -1}), ("no bytes", {"key": FREE, "offset": 0, "byte_size": 0}),
                       ("a key that is a number", {"key": 1, "byte_size": 1}), ("a size that is a string", {"key": FREE, "byte_size": "1"}),
                       ("an offset that overflows", {"key": FREE, "offset": 18446744073709551615, "byte_size": 2}), ("a path for a key", {"key": "/../etc/passwd", "byte_size": 1}), ("an empty key", {"key": "", "byte_size": 1})):
        register(name.replace(" ", "_"), body, name=f"registering {name}")
    for name, body in (("no document", "x"), ("an empty body", ""), ("a list", "[]")):
        register("r", body, name=f"registering {name}")
    post(f"{sys}/register", {"key": FREE, "byte_size": 1})
    get(f"{sys}/status", "the status after what failed")

    def region(name, offset=0, size=64, **more):
        return {"shared_memory_region": name, "shared_memory_byte_size": size, **({"shared_memory_offset": offset} if offset else {}), **more}

    shm = lambda p, q=region("all", 64): [tensor("INPUT0", "INT32", [1, 16], **p), tensor("INPUT1", "INT32", [1, 16], **q)]
    infer("simple", "shared inputs", shm(region("all")))
    out = [{"name": "OUTPUT0", "parameters": region("half")}, {"name": "OUTPUT1", "parameters": region("half", 64)}]
    infer("simple", "shared inputs and outputs", shm(region("all")), outputs=out)
    infer("simple", "inputs from what was written", shm(region("half"), region("all", 192)))
    infer("simple", "an unknown region", shm(region("none")))
    infer("simple", "an offset past the region", shm(region("all", 256)))
    infer("simple", "a size past the region", shm(region("all", 224)))
    infer("simple", "another size than the tensor's", shm(region("all", 0, 60)))
    infer("simple", "a larger size than the tensor's", shm(region("all", 0, 128)))
    infer("simple", "a negative size", shm(region("all", 0, -1)))
    infer("simple", "a negative offset", shm(region("all", -1)))
    infer("simple", "a region without a size", shm({"shared_memory_region": "all"}))
    infer("simple", "a region that is a number", shm({"shared_memory_region": 1, "shared_memory_byte_size": 64}))
    infer("simple", "a region and data", [tensor("INPUT0", "INT32", [1, 16], COUNT, **region("all")), two()[1]])
    for name, p in (("an unknown region for an output", region("none")), ("too small a region for an output", region("half", 0, 8)), ("an output past the region", region("half", 100)),
                    ("an output binary and shared", region("half", binary_data=True)), ("an output classified and shared", region("half", classification=1)), ("a larger region for an output", region("half", 0, 128))):
        infer("simple", name, two(), outputs=[{"name": "OUTPUT0", "parameters": p}])
    post(f"{sys}/region/half/unregister")
    post(f"{sys}/region/half/unregister", name="a region unregistered again")
    post(f"{sys}/region/none/unregister")
    post(f"{sys}/unregister")
    get(f"{sys}/status", "the status at the end")
    infer("simple", "a region that is gone", shm(region("all")))
    get(f"{cuda}/status", compare="status")
    get(f"{cuda}/region/none/status", compare="status")
    post(f"{cuda}/region/r/register", {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 64}, compare="status")
    post(f"{cuda}/region/r/register", "{}", name="registering CUDA memory without fields", compare="status")
    post(f"{cuda}/unregister", compare="status")


def repository():
    names = lambda **k: {**k}
    post("/v2/repository/index")
    post("/v2/repository/index", {"ready": True}, "the index of ready models")
    post("/v2/repository/index", {"ready": False}, "the index of all models")
    for name, body in (("a string for ready", '{"ready":"x"}'), ("no document", "x"), ("a list", "[]"), ("an unknown field", '{"other":1}')):
        post("/v2/repository/index", body, f"the index with {name}")
    post("/v2/repository/other/index")
    post("/v2/repository/models/unloaded/load")
    get("/v2/models/unloaded/ready", "ready once loaded")
    infer("unloaded", "inference once loaded", [tensor("INPUT0", "FP32", [1, 1], [1])])
    post("/v2/repository/models/unloaded/load", name="a model loaded again")
    post("/v2/repository/models/unloaded/unload")
    get("/v2/models/unloaded/ready", "ready once unloaded")
    infer("unloaded", "inference once unloaded", [tensor("INPUT0", "FP32", [1, 1], [1])])
    post("/v2/repository/models/unloaded/unload", name="a model unloaded again")
    post("/v2/repository/models/unloaded/unload", {"parameters": {"unload_dependents": True}}, "a model unloaded with its dependents")
    post("/v2/repository/models/unloaded/unload", {"parameters": {"unload_dependents": 1}}, "unload_dependents that is a number")
    for m in ("none", "broken", "misspelt"):
        post(f"/v2/repository/models/{m}/load")
        post(f"/v2/repository/models/{m}/unload")
    post("/v2/repository/other/models/simple/load")
    post("/v2/repository/other/models/simple/unload")
    post("/v2/repository/models/simple/reload")
    for name, body in (("no document", "x"), ("a parameter that is a number", {"parameters": {"config": 1}}), ("an unknown parameter", {"parameters": {"other": "x"}}),
                       ("a config that is no document", {"parameters": {"config": "x"}}), ("a file without a config", {"parameters": {"file:1/model.py": "AAAA"}}),
                       ("an unknown field in config", {"parameters": {"config": '{"name":"unloaded","max_delay":1}'}})):
        post("/v2/repository/models/unloaded/load", body, f"loading with {name}")
    post("/v2/repository/models/unloaded/unload", name="unloading after the load cases")
    post("/v2/repository/index", name="the index at the end")


def settings():
    get("/v2/trace/setting")
    get("/v2/models/simple/trace/setting")
    get("/v2/models/none/trace/setting")
    for body in ({"trace_level": ["TIMESTAMPS"]}, {"trace_rate": "5"}, {"trace_rate": 5}, {"trace_count": "-1"}, {"trace_count": "x"}, {"trace_level": ["WRONG"]}, {"trace_level": "OFF"},
                 {"trace_file": "events.json"}, {"log_frequency": "3"}, {"log_frequency": -1}, {"other": "x"}, {"trace_rate": None}, {"trace_level": ["OFF"]}, {"trace_rate": ["1", "2"]}, {}):
        post("/v2/trace/setting", body, f"trace setting {json.dumps(body)}")
    post("/v2/models/simple/trace/setting", {"trace_rate": "7"}, "a model's own trace rate")
    get("/v2/models/simple/trace/setting", "a model's trace setting once changed")
    post("/v2/models/simple/trace/setting", {"trace_rate": None}, "a model's trace rate cleared")
    post("/v2/models/none/trace/setting", {"trace_rate": "7"}, "an unknown model's trace rate")
    for body in ("x", "", "[]"):
        post("/v2/trace/setting", body, f"trace setting {body!r}")
    post("/v2/trace/setting", {"trace_rate": "-3"}, "a negative trace rate")
    post("/v2/trace/setting", {"trace_rate": None, "trace_level": None, "trace_count": None, "log_frequency": None}, "every trace setting cleared")
    get("/v2/logging")
    for body in ({"log_verbose_level": 1}, {"log_verbose_level": 0}, {"log_verbose_level": "1"}, {"log_verbose_level": -1}, {"log_info": False}, {"log_info": True}, {"log_warning": "x"},
                 {"log_error": False}, {"log_error": True}, {"log_format": "ISO8601"}, {"log_format": "default"}, {"log_format": "other"}, {"log_format": 1}, {"log_file": "events.json"}, {"log_file": 1}, {"other": 1}, {}):
        post("/v2/logging", body, f"logging {json.dumps(body)}")
    for body in ("x", "", "[]"):
        post("/v2/logging", body, f"logging {body!r}")
    get("/v2/logging", "logging at the end")


def scheduling():
    one = lambda v: [tensor("INPUT", "INT32", [1, 1], [v])]
    step = lambda model, name, v, **p: infer(model, name, one(v), parameters=p)
    for model in ("simple_sequence", "simple_dyna_sequence"):
        step(model, "a start", 3, sequence_id=11, sequence_start=True)
        step(model, "a middle", 4, sequence_id=11)
        step(model, "an end", 5, sequence_id=11, sequence_end=True)
        step(model, "a sequence that is over", 6, sequence_id=11)
        step(model, "no sequence", 6)
        step(model, "a sequence never begun", 6, sequence_id=12)
        step(model, "a whole sequence in one", 7, sequence_id=13, sequence_start=True, sequence_end=True)
        step(model, "started twice, first", 1, sequence_id=14, sequence_start=True)
        step(model, "started twice, second", 2, sequence_id=14, sequence_start=True)
        step(model, "started twice, end", 2, sequence_id=14, sequence_end=True)
    step("simple_sequence", "a name for a sequence", 1, sequence_id="name", sequence_start=True, sequence_end=True)
    infer("simple_sequence", "a batch of two", [tensor("INPUT", "INT32", [2, 1], [1, 2])], parameters={"sequence_id": 15, "sequence_start": True})
    x = [tensor("INPUT0", "FP32", [1, 1], [1])]
    infer("deadline", "no timeout", x)
    infer("deadline", "a timeout that passes in the queue", x, parameters={"timeout": 20000})
    infer("deadline", "a timeout that does not pass", x, parameters={"timeout": 1900000})
    infer("deadline", "priority 1", x, parameters={"priority": 1})
    infer("deadline", "priority 2", x, parameters={"priority": 2})
    infer("deadline", "priority 3 of two", x, parameters={"priority": 3})
    infer("deadline", "a full batch, no delay", [tensor("INPUT0", "FP32", [4, 1], [1, 2, 3, 4])])
    infer("deadline", "two requests for one place in the queue", x, more={"connections": 2})
    post("/v2/models/simple_identity/generate", {"INPUT0": "x"}, compare="record")
    post("/v2/models/simple_identity/generate_stream", {"INPUT0": "x"}, compare="record")


def statistics():
    for path in ("/v2/models/simple/stats", "/v2/models/simple/versions/1/stats", "/v2/models/simple/versions/9/stats", "/v2/models/failing/stats", "/v2/models/stats"):
        get(path, f"{path} at the end", compare="masked")
    get("/v2/health/ready", "ready at the end")
    get("/v2/health/live", "live at the end")


for group in (routes, metadata, datatypes, inference, broken, tail, classification, compression, http, memory, repository, settings, scheduling, statistics):
    group()
