"""The gRPC corpus's calls, in the order in which they are sent: later ones see what earlier ones changed."""

import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cases import packed  # noqa: E402
from tritonclient.grpc import service_pb2 as pb  # noqa: E402

CALLS = []
KEYS = [f"/vitrine_grpc_transcript_{c}" for c in "abc"]  # shared memory objects of two pages
REGION = 1024  # bytes of the first that calls use
A, B = list(range(16)), [1] * 16
FIELDS = {"BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
          "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
          "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}
VALUES = {"BOOL": [True, False, True], "INT8": [-128, 0, 127], "INT16": [-32768, 1, 32767], "INT32": [-2**31, 2, 2**31 - 1],
          "INT64": [-2**63, 3, 2**63 - 1], "UINT8": [0, 7, 255], "UINT16": [0, 9, 65535], "UINT32": [0, 11, 2**32 - 1],
          "UINT64": [0, 13, 2**64 - 1], "FP16": [1.5, -2.0, 65504.0], "BF16": [1.0, -2.5, 3.0], "FP32": [1.25, -0.0, 3.4e38],
          "FP64": [1.1, -2.2, 1e300], "BYTES": [b"", b"one", "z\u00fcrich".encode()]}


def call(name, method, *messages, metadata=(), compare=None, service="inference.GRPCInferenceService", memory=None):
    """One call; several messages are a stream's, each sent when the one before is answered. `compare` names a looser
    comparison: "masked" (times and counts) or "code" (the text is the transport's own). `memory` is what the shared
    memory holds before the call; its content afterwards is recorded."""
    sent = [m if isinstance(m, bytes) else m.SerializeToString(deterministic=True) for m in messages]
    CALLS.append(dict(name=name, method=f"/{service}/{method}", send=sent, metadata=list(metadata), compare=compare, memory=memory))


def parameter(v):
    if isinstance(v, pb.InferParameter):
        return v
    kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(v)]
    return pb.InferParameter(**{kind: v})


def tensor(name, datatype, shape, values=None, contents=None, **parameters):
    t = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if values is not None:
        getattr(t.contents, FIELDS[datatype]).extend(values)
    if contents is not None:
        t.contents.CopyFrom(contents)
    for k, v in parameters.items():
        t.parameters[k].CopyFrom(parameter(v))
    return t


def output(name, **parameters):
    o = pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
    for k, v in parameters.items():
        o.parameters[k].CopyFrom(parameter(v))
    return o


def request(model, inputs, raw=(), outputs=(), version="", id="", **parameters):
    r = pb.ModelInferRequest(model_name=model, model_version=version, id=id, inputs=inputs, outputs=outputs, raw_input_contents=raw)
    for k, v in parameters.items():
        r.parameters[k].CopyFrom(parameter(v))
    return r


def infer(name, *args, **more):
    call(f"infer {args[0]}: {name}", "ModelInfer", request(*args, **more))


def simple(**more):
    return request("simple", two(), raw=both(), **more)


def two(datatype="INT32", shape=(1, 16), **more):
    return [tensor("INPUT0", datatype, shape, **more), tensor("INPUT1", datatype, shape, **more)]


def both():
    return [packed("INT32", A), packed("INT32", B)]


def step(value, model="simple_sequence", **parameters):
    return request(model, [tensor("INPUT", "INT32", [1, 1])], raw=[packed("INT32", [value])], **parameters)


def one(model, datatype="FP32", values=(2.0,), shape=(1, 1), **more):
    return request(model, [tensor("INPUT0", datatype, shape)], raw=[packed(datatype, values)], **more)


def health():
    call("health: the server", "Check", b"", service="grpc.health.v1.Health")
    call("health: a service", "Check", b"\x0a\x24inference.GRPCInferenceService__none", service="grpc.health.v1.Health")
    call("live", "ServerLive", pb.ServerLiveRequest())
    call("ready", "ServerReady", pb.ServerReadyRequest())
    for name, version in (("simple", ""), ("simple", "1"), ("simple", "9"), ("nope", ""), ("simple", "x"), ("unloaded", "")):
        call(f"ready: {name} {version}", "ModelReady", pb.ModelReadyRequest(name=name, version=version))
    call("a method that is none", "Nothing", b"", compare="code")
    call("a service that is none", "Nothing", b"", service="inference.Nothing", compare="code")


def metadata():
    call("metadata: the server", "ServerMetadata", pb.ServerMetadataRequest())
    for name, version in (("simple", ""), ("simple", "1"), ("simple", "2"), ("simple", "-1"), ("versions", ""), ("versions", "3"), ("versions", "2"),
                          ("nope", ""), ("", ""), ("simple_string", ""), ("optional", ""), ("nobatch_fp32", ""), ("unloaded", "")):
        call(f"metadata: {name} {version}", "ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
    for name, version in (("simple", ""), ("nope", ""), ("simple", "5"), ("deadline", ""), ("classes", "1")):
        call(f"config: {name} {version}", "ModelConfig", pb.ModelConfigRequest(name=name, version=version))


def types():
    for datatype, values in VALUES.items():
        model = f"identity_{datatype.lower()}"
        infer("raw", model, [tensor("INPUT0", datatype, [1, 3])], raw=[packed(datatype, values)], id="raw")
        if datatype in FIELDS:
            infer("typed", model, [tensor("INPUT0", datatype, [1, 3], values)])
        infer("raw, a byte short", model, [tensor("INPUT0", datatype, [1, 3])], raw=[packed(datatype, values)[:-1]])
        infer("raw, too much", model, [tensor("INPUT0", datatype, [1, 2])], raw=[packed(datatype, values)])
    infer("typed FP16", "identity_fp16", [tensor("INPUT0", "FP16", [1, 3], contents=pb.InferTensorContents(fp32_contents=[1, 2, 3]))])
    infer("typed BF16", "identity_bf16", [tensor("INPUT0", "BF16", [1, 3], contents=pb.InferTensorContents(fp32_contents=[1, 2, 3]))])
    infer("typed, out of range", "identity_int8", [tensor("INPUT0", "INT8", [1, 2], [300, -300])])
    infer("typed, too few", "identity_int32", [tensor("INPUT0", "INT32", [1, 3], [1, 2])])
    infer("typed, too many", "identity_int32", [tensor("INPUT0", "INT32", [1, 3], [1, 2, 3, 4])])
    infer("typed, another type", "identity_int32", [tensor("INPUT0", "INT32", [1, 3], contents=pb.InferTensorContents(fp32_contents=[1, 2, 3]))])
    infer("typed, two types", "identity_int32", [tensor("INPUT0", "INT32", [1, 3], contents=pb.InferTensorContents(int_contents=[1, 2, 3], fp32_contents=[1]))])
    infer("typed, empty", "identity_int32", [tensor("INPUT0", "INT32", [1, 0], contents=pb.InferTensorContents())])
    infer("bytes that lie about their length", "identity_bytes", [tensor("INPUT0", "BYTES", [1, 1])], raw=[struct.pack("<I", 1000) + b"abc"])
    infer("bytes cut in their length", "identity_bytes", [tensor("INPUT0", "BYTES", [1, 1])], raw=[b"\x01\x00"])
    infer("bytes, too few", "identity_bytes", [tensor("INPUT0", "BYTES", [1, 3])], raw=[packed("BYTES", [b"a", b"b"])])
    infer("strings typed", "simple_string", [tensor("INPUT0", "BYTES", [1, 16], [str(v).encode() for v in A]),
                                             tensor("INPUT1", "BYTES", [1, 16], [str(v).encode() for v in B])])


def requests():
    infer("raw", "simple", two(), raw=both(), id="42")
    infer("typed", "simple", [tensor("INPUT0", "INT32", [1, 16], A), tensor("INPUT1", "INT32", [1, 16], B)])
    infer("a batch of two", "simple", two(shape=[2, 16]), raw=[packed("INT32", A * 2), packed("INT32", B * 2)])
    infer("version 1", "simple", two(), raw=both(), version="1")
    infer("version 7", "simple", two(), raw=both(), version="7")
    infer("version x", "simple", two(), raw=both(), version="x")
    infer("version -1", "simple", two(), raw=both(), version="-1")
    infer("version 1", "versions", [tensor("INPUT0", "FP32", [1, 1])], raw=[packed("FP32", [2])], version="1")
    infer("latest", "versions", [tensor("INPUT0", "FP32", [1, 1])], raw=[packed("FP32", [2])])
    infer("unknown", "nope", two(), raw=both())
    infer("not loaded", "unloaded", two(), raw=both())
    infer("no name", "", two(), raw=both())
    infer("no inputs", "simple", [])
    infer("one input", "simple", two()[:1], raw=both()[:1])
    infer("an unknown input", "simple", two() + [tensor("INPUT2", "INT32", [1, 16])], raw=both() + both()[:1])
    infer("the same input twice", "simple", [two()[0], two()[0]], raw=both())
    infer("an input without a name", "simple", [tensor("", "INT32", [1, 16]), two()[1]], raw=both())
    infer("one raw tensor of two", "simple", two(), raw=both()[:1])
    infer("three raw tensors", "simple", two(), raw=both() + [b"xyz"])
    infer("raw and typed", "simple", [tensor("INPUT0", "INT32", [1, 16], A), two()[1]], raw=both())
    infer("typed, then nothing", "simple", [tensor("INPUT0", "INT32", [1, 16], A), two()[1]])
    infer("another type", "simple", two("FP32"), raw=both())
    infer("no such type", "simple", two("INT31"), raw=both())
    infer("no type", "simple", two(""), raw=both())
    infer("another shape", "simple", two(shape=[1, 8]), raw=[b[:32] for b in both()])
    infer("another rank", "simple", two(shape=[16]), raw=both())
    infer("no shape", "simple", two(shape=[]), raw=both())
    infer("a negative batch", "simple", two(shape=[-1, 16]), raw=both())
    for n in (0, 1):
        shapes = [[-1, 16] if i == n else [1, 16] for i in (0, 1)]
        infer(f"a negative batch of input {n}", "simple", [tensor(f"INPUT{i}", "INT32", s) for i, s in enumerate(shapes)], raw=both())
    infer("a negative dimension", "simple", two(shape=[1, -16]), raw=both())
    infer("a zero batch", "simple", two(shape=[0, 16]), raw=[b"", b""])
    infer("batches that differ", "simple", [tensor("INPUT0", "INT32", [2, 16]), two()[1]], raw=[packed("INT32", A * 2), both()[1]])
    infer("a batch too large", "simple", two(shape=[9, 16]), raw=[packed("INT32", A * 9), packed("INT32", B * 9)])
    infer("an empty tensor", "nobatch_fp32", [tensor("INPUT0", "FP32", [0, 2])], raw=[b""])
    infer("without a batch", "nobatch_fp32", [tensor("INPUT0", "FP32", [2, 2])], raw=[packed("FP32", [1, 2, 3, 4])])
    infer("an optional input left out", "optional", [tensor("INPUT0", "FP32", [1, 1])], raw=[packed("FP32", [2])])
    infer("a model that fails", "failing", [tensor("INPUT0", "FP32", [1, 1])], raw=[packed("FP32", [2])], id="f")
    infer("one output", "simple", two(), raw=both(), outputs=[output("OUTPUT1")])
    infer("outputs in another order", "simple", two(), raw=both(), outputs=[output("OUTPUT1"), output("OUTPUT0")])
    infer("an unknown output", "simple", two(), raw=both(), outputs=[output("OUTPUT9")])
    infer("an output twice", "simple", two(), raw=both(), outputs=[output("OUTPUT0"), output("OUTPUT0")])
    infer("an output of 8 in 16", "simple", two(), raw=both(), outputs=[output("OUTPUT0", binary_data=True)])
    call("infer: no protobuf", "ModelInfer", b"\xff\xff\xff", compare="code")
    call("infer: invalid UTF-8", "ModelInfer", b"\x0a\x01\xff", compare="code")
    call("infer: nothing at all", "ModelInfer", b"")


def classes():
    row = [0.5, 3.0, -1.0, 2.0, 9.0, 0.0]
    inputs, raw = [tensor("INPUT0", "FP32", [1, 6])], [packed("FP32", row)]
    for n in (1, 3, 6, 50, 0, -1):
        infer(f"the best {n}", "classes", inputs, raw=raw, outputs=[output("OUTPUT0", classification=n)])
    infer("a batch", "classes", [tensor("INPUT0", "FP32", [2, 6])], raw=[packed("FP32", row + row[::-1])], outputs=[output("OUTPUT0", classification=2)])
    infer("a count that is text", "classes", inputs, raw=raw, outputs=[output("OUTPUT0", classification="2")])
    infer("classes of integers", "simple", two(), raw=both(), outputs=[output("OUTPUT0", classification=2)])


def parameters():
    for name, p in {"priority": {"priority": 1}, "priority text": {"priority": "1"}, "negative priority": {"priority": -2}, "priority uint64": {"priority": pb.InferParameter(uint64_param=2)},
                    "timeout": {"timeout": 5000000}, "timeout text": {"timeout": "1"}, "timeout true": {"timeout": True},
                    "of its own": {"mine": "text", "yours": 7, "flag": True}, "a double of its own": {"mine": 1.5}, "a uint64 of its own": {"mine": pb.InferParameter(uint64_param=2)},
                    "empty": {"mine": pb.InferParameter()}, "reserved": {"triton_mine": 1}, "empty final": {"triton_enable_empty_final_response": True},
                    "empty final text": {"triton_enable_empty_final_response": "yes"}, "sequence_id true": {"sequence_id": True}, "sequence_start text": {"sequence_start": "x"},
                    "sequence_end int": {"sequence_end": 1}, "sequence_id": {"sequence_id": 9}, "sequence_id text": {"sequence_id": "nine"},
                    "binary_data_output": {"binary_data_output": True}}.items():
        infer(f"parameter {name}", "simple", two(), raw=both(), **p)
    infer("an input's parameter", "simple", two(mine="x"), raw=both())
    infer("priority too low", "deadline", [tensor("INPUT0", "FP32", [1, 1])], raw=[packed("FP32", [2])], priority=9)
    infer("a short timeout", "deadline", [tensor("INPUT0", "FP32", [1, 1])], raw=[packed("FP32", [2])], timeout=1000)


def sequences():
    def run(name, *steps):
        for i, r in enumerate(steps):
            call(f"sequence: {name} {i}", "ModelInfer", r)
    run("in order", step(5, sequence_id=1, sequence_start=True), step(6, sequence_id=1), step(7, sequence_id=1, sequence_end=True))
    run("no start", step(5, sequence_id=77))
    run("no id", step(5))
    run("id 0", step(5, sequence_id=0, sequence_start=True))
    run("id text", step(5, sequence_id="a", sequence_start=True, sequence_end=True))
    run("with its number", step(5, "simple_dyna_sequence", sequence_id=3, sequence_start=True), step(5, "simple_dyna_sequence", sequence_id=3, sequence_end=True))
    run("to a model without", simple(sequence_id=4, sequence_start=True))


def streams():
    def stream(name, *messages, **more):
        call(f"stream: {name}", "ModelStreamInfer", *messages, **more)
    stream("one", simple(id="1"))
    stream("three", simple(id="a"), simple(id="b"), simple())
    stream("nothing")
    stream("an error between", simple(id="1"), request("nope", two(), raw=both(), id="2"), simple(id="3"))
    stream("an error of the request", request("simple", two()[:1], raw=both()[:1], id="missing"))
    stream("a version that is none", simple(version="7", id="v"))
    stream("a parameter of another type", simple(timeout="x", id="p"))
    stream("a model that fails", one("failing", id="f"))
    stream("a model that fails, no id", one("failing"))
    stream("a model that fails, final", one("failing", id="f", triton_enable_empty_final_response=True))
    stream("final", simple(id="e", triton_enable_empty_final_response=True))
    stream("final false", simple(id="e", triton_enable_empty_final_response=False))
    stream("an error, final", request("simple", two()[:1], raw=both()[:1], id="e", triton_enable_empty_final_response=True))
    stream("a sequence", step(5, sequence_id=21, sequence_start=True, id="s0"), step(6, sequence_id=21, id="s1"), step(7, sequence_id=21, sequence_end=True, id="s2"))
    stream("parameters", simple(id="q", mine="x"))
    stream("one output", simple(id="o", outputs=[output("OUTPUT1")]))
    stream("no protobuf", b"\xff\xff\xff", compare="code")


def statistics():
    for name, version in (("simple", ""), ("simple", "1"), ("simple", "8"), ("nope", ""), ("versions", ""), ("failing", "")):
        call(f"statistics: {name} {version}", "ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version), compare="masked")


def settings():
    def trace(name, model="", **values):
        r = pb.TraceSettingRequest(model_name=model)
        for k, v in values.items():
            if v is None:
                r.settings[k].SetInParent()
            else:
                r.settings[k].value.extend(v)
        call(f"trace: {name}", "TraceSetting", r)

    def log(name, **values):
        r = pb.LogSettingsRequest()
        for k, v in values.items():
            setattr(r.settings[k], {bool: "bool_param", int: "uint32_param", str: "string_param"}[type(v)], v)
        call(f"log: {name}", "LogSettings", r)
    trace("read")
    trace("rate", trace_rate=["50"])
    trace("two values", trace_rate=["50", "60"])
    trace("text", trace_rate=["x"])
    trace("count", trace_count=["-2"])
    trace("a file", trace_file=["/tmp/x"])
    trace("of a model", model="simple", trace_rate=["9"])
    trace("clear a model's", model="simple", trace_rate=None)
    trace("an unknown model", model="nope")
    trace("unknown", mine=["1"])
    trace("clear", trace_rate=None)
    log("read")
    log("verbose", log_verbose_level=1)
    log("off", log_info=False, log_warning=False)
    log("on", log_info=True, log_warning=True, log_verbose_level=0)
    log("a file", log_file="/tmp/x")
    log("iso", log_format="ISO8601")
    log("default", log_format="default")
    log("another format", log_format="mine")
    log("info text", log_info="yes")
    log("level text", log_verbose_level="1")
    log("format true", log_format=True)
    log("unknown", mine=True)


def repository():
    call("index: ready", "RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
    call("index: of a repository", "RepositoryIndex", pb.RepositoryIndexRequest(repository_name="r"))

    def load(name, model, repository="", method="RepositoryModelLoad", **parameters):
        kind = pb.RepositoryModelLoadRequest if method == "RepositoryModelLoad" else pb.RepositoryModelUnloadRequest
        r = kind(model_name=model, repository_name=repository)
        for k, v in parameters.items():
            setattr(r.parameters[k], {bool: "bool_param", int: "int64_param", str: "string_param", bytes: "bytes_param"}[type(v)], v)
        call(f"{method[15:].lower()}: {name}", method, r)
    load("a model", "unloaded")
    call("ready: loaded", "ModelReady", pb.ModelReadyRequest(name="unloaded"))
    load("unknown", "nope")
    load("of a repository", "unloaded", "r")
    load("an unknown parameter", "unloaded", mine="x")
    load("a config that is a number", "unloaded", config=7)
    load("a model", "unloaded", method="RepositoryModelUnload")
    load("unknown", "nope", method="RepositoryModelUnload")
    load("of a repository", "unloaded", "r", method="RepositoryModelUnload")


def shared():
    key, other, free = KEYS
    size = REGION
    zeros = bytes(size)
    start = packed("INT32", A) + packed("INT32", B) + bytes(size - 128)

    def register(name, key=key, offset=0, byte_size=size, what=None):
        call(f"register: {what or name}", "SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset, byte_size=byte_size))

    def status(name, what=None):
        call(f"region status: {what or name}", "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name=name))

    def unregister(name):
        call(f"unregister: {name}", "SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name=name))

    def use(name, outputs, inputs=None, memory=start, raw=(), method="ModelInfer"):
        inputs = inputs or [tensor("INPUT0", "INT32", [1, 16], shared_memory_region="all", shared_memory_byte_size=64),
                            tensor("INPUT1", "INT32", [1, 16], shared_memory_region="all", shared_memory_byte_size=64, shared_memory_offset=64)]
        call(f"shared memory: {name}", method, request("simple", inputs, raw=raw, outputs=outputs, id="m"), memory=memory)

    def out(name, n=64, offset=None, region="all", **more):
        if offset is not None:
            more["shared_memory_offset"] = offset
        return output(name, shared_memory_region=region, shared_memory_byte_size=n, **more)
    status("", "none")
    status("all", "unknown")
    register("all")
    register("all", what="twice")
    register("half", other, offset=4096, byte_size=1024)
    register("odd", free, offset=512, byte_size=512)
    register("beyond", free, byte_size=2 * 4096 + 1)
    register("offset beyond", free, offset=2 * 4096, byte_size=8)
    register("no bytes", free, byte_size=0)
    register("no object", "/vitrine_grpc_none")
    register("", free, what="no name")
    register("again", what="an object that has a region")
    status("all")
    status("", "two")
    use("inputs only", [])
    use("outputs", [out("OUTPUT0", 64, 128), out("OUTPUT1", 64, 192)])
    use("one output of two", [out("OUTPUT0", 64, 256), output("OUTPUT1")])
    use("an output of another region", [out("OUTPUT0", 64, 0, "half")])
    use("an output at an offset of another region", [out("OUTPUT0", 64, 960, "half")])
    use("an output past the end of another region", [out("OUTPUT0", 64, 961, "half")])
    use("an output too small", [out("OUTPUT0", 63, 128)])
    use("an output too large", [out("OUTPUT0", 100, 128)])
    use("an output of no bytes", [out("OUTPUT0", 0, 128)])
    use("an output of negative bytes", [out("OUTPUT0", -1, 128)])
    use("an output that ends beyond", [out("OUTPUT0", 64, size)])
    use("an output of an unknown region", [out("OUTPUT0", 64, 0, "none")])
    use("an output without a size", [output("OUTPUT0", shared_memory_region="all")])
    use("an output with a size alone", [output("OUTPUT0", shared_memory_byte_size=64)])
    use("an output with an offset alone", [output("OUTPUT0", shared_memory_offset=64)])
    use("an output whose size is text", [output("OUTPUT0", shared_memory_region="all", shared_memory_byte_size="64")])
    use("an output whose region is a number, without a size", [output("OUTPUT0", shared_memory_region=3)])
    use("an output with a size and an offset alone", [output("OUTPUT0", shared_memory_byte_size=64, shared_memory_offset=64)])
    use("an output whose offset is text, without a size", [output("OUTPUT0", shared_memory_region="all", shared_memory_offset="64")])
    use("an output whose size and offset are text", [output("OUTPUT0", shared_memory_region="all", shared_memory_byte_size="64", shared_memory_offset="64")])
    use("an output whose region is a number", [output("OUTPUT0", shared_memory_region=3, shared_memory_byte_size=64)])
    use("an output and classes", [out("OUTPUT0", 64, 128, classification=2)])
    use("an unknown output", [out("OUTPUT9", 64, 128)])
    use("outputs over the inputs", [out("OUTPUT0", 64, 0), out("OUTPUT1", 64, 64)])
    use("a stream's outputs", [out("OUTPUT0", 64, 128)], method="ModelStreamInfer")
    for n in (60, 68, 0):
        use(f"an input of {n} bytes", [], [tensor("INPUT0", "INT32", [1, 16], shared_memory_region="all", shared_memory_byte_size=n), two()[1]], raw=[both()[1]])
    use("an input and typed contents", [], [tensor("INPUT0", "INT32", [1, 16], A, shared_memory_region="all", shared_memory_byte_size=64), two()[1]])
    use("an input of an unknown region", [], [tensor("INPUT0", "INT32", [1, 16], shared_memory_region="none", shared_memory_byte_size=64), two()[1]], raw=both()[:1])
    text = request("simple_string", [tensor("INPUT0", "BYTES", [1, 16], [str(v).encode() for v in A]), tensor("INPUT1", "BYTES", [1, 16], [str(v).encode() for v in B])])
    for n in (256, 86, 85):
        r = pb.ModelInferRequest()
        r.CopyFrom(text)
        r.outputs.append(out("OUTPUT0", n, 0))
        call(f"shared memory: strings in {n} bytes", "ModelInfer", r, memory=zeros)
    unregister("half")
    unregister("unknown")
    status("", "one")
    unregister("")
    status("", "none left")
    call("cuda status", "CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest())
    call("cuda status: unknown", "CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest(name="x"))
    call("cuda register", "CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest(name="x", raw_handle=b"1", device_id=0, byte_size=8))
    call("cuda unregister", "CudaSharedMemoryUnregister", pb.CudaSharedMemoryUnregisterRequest(name="x"))


def deadly():
    """Calls that may end the server, at once or a little later."""
    def stream(name, *messages, **more):
        call(f"stream: {name}", "ModelStreamInfer", *messages, **more)
    strict = [("triton_grpc_error", "true")]
    stream("strict: good", simple(id="1"), metadata=strict)
    stream("strict: unknown", request("nope", two(), raw=both(), id="2"), metadata=strict)
    stream("strict: a request", request("simple", two()[:1], raw=both()[:1], id="m"), metadata=strict)
    stream("strict: a model that fails", one("failing", id="f"), metadata=strict)
    stream("strict: no", request("nope", two(), raw=both(), id="2"), metadata=[("triton_grpc_error", "false")])
    stream("strict: good, then unknown", simple(id="1"), request("nope", two(), raw=both(), id="2"), metadata=strict)


for part in (health, metadata, types, requests, classes, parameters, sequences, streams, statistics, settings, repository, shared, deadly):
    part()
