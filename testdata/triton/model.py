"""The recorded server's models, all in one file: config.pbtxt says which one this is.

record.py copies this file into every version of every model; the parameter
`kind` of the model's configuration picks the function below.
"""

import json
import os
import sys

sys.path.insert(0, os.environ["TRANSCRIPT_SITE_PACKAGES"])

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402


def tensors(request):
    return {t.name(): t for t in request.inputs()}


def identity(model, inputs):
    """OUTPUT0 = INPUT0, whatever its type: bfloat16 has no NumPy type and goes by DLPack."""
    source = inputs["INPUT0"]
    if model.types["OUTPUT0"] == "TYPE_BF16":
        return [pb_utils.Tensor.from_dlpack("OUTPUT0", source.to_dlpack())]
    return [pb_utils.Tensor("OUTPUT0", source.as_numpy())]


def addsub(model, inputs):
    """OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1; strings hold decimal numbers."""
    a, b = (inputs[n].as_numpy() for n in ("INPUT0", "INPUT1"))
    if a.dtype == np.object_:
        a, b = a.astype(np.int32), b.astype(np.int32)
        text = lambda v: v.astype(str).astype(np.object_)
        return [pb_utils.Tensor("OUTPUT0", text(a + b)), pb_utils.Tensor("OUTPUT1", text(a - b))]
    return [pb_utils.Tensor("OUTPUT0", a + b), pb_utils.Tensor("OUTPUT1", a - b)]


def zeros(model, inputs):
    """512 zeros an image."""
    rows = inputs["image"].shape()[0]
    return [pb_utils.Tensor("embedding", np.zeros((rows, 512), np.float32))]


def sequence(model, inputs):
    """OUTPUT = INPUT, plus one at a sequence's start, plus its number at its end if the model asks for it."""
    out = inputs["INPUT"].as_numpy() + inputs["START"].as_numpy().astype(np.int32)
    if "CORRID" in inputs and inputs["END"].as_numpy().any():
        out = out + inputs["CORRID"].as_numpy().astype(np.int32)
    return [pb_utils.Tensor("OUTPUT", out.astype(np.int32))]


def version(model, inputs):
    """OUTPUT0 = INPUT0 + the version that runs."""
    return [pb_utils.Tensor("OUTPUT0", inputs["INPUT0"].as_numpy() + np.float32(model.version))]


def optional(model, inputs):
    """OUTPUT0 = INPUT0 + INPUT1, the latter 100 when it is not sent."""
    second = inputs["INPUT1"].as_numpy() if "INPUT1" in inputs else np.float32(100)
    return [pb_utils.Tensor("OUTPUT0", inputs["INPUT0"].as_numpy() + second)]


def failing(model, inputs):
    raise ValueError("this model always fails")


KINDS = {f.__name__: f for f in (identity, addsub, zeros, sequence, version, optional, failing)}


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.types = {o["name"]: o["data_type"] for o in config["output"]}
        self.version = int(args["model_version"])
        self.run = KINDS[config["parameters"]["kind"]["string_value"]]

    def execute(self, requests):
        return [self.answer(r) for r in requests]

    def answer(self, request):
        try:
            return pb_utils.InferenceResponse(self.run(self, tensors(request)))
        except ValueError as error:
            return pb_utils.InferenceResponse([], error=pb_utils.TritonError(str(error)))
