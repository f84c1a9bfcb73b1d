"""Check an exported ONNX file with ONNX's own checker and shape inference, compute the pattern's embedding
with ONNX Runtime and print it as JSON.

    python check_onnx.py FILE.onnx

Needs onnx, onnxruntime and numpy.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "testdata"))
from synthetic import numbers  # noqa: E402

path = sys.argv[1]
onnx.checker.check_model(path, full_check=True)
model = onnx.load(path, load_external_data=False)
inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
pixels = numbers("pattern", (1, 3, side, side), 1.0)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
alone = session.run(["embedding"], {"image": pixels})[0]
pair = session.run(["embedding"], {"image": np.concatenate([pixels[:, :, ::-1], pixels])})[0]
print(json.dumps({
    "embedding": alone[0].tolist(), "second": pair[1].tolist(), "opset": model.opset_import[0].version,
    "nodes": len(model.graph.node), "values": len(inferred.graph.value_info),
    "producer": model.producer_name, "external": any(t.data_location for t in model.graph.initializer),
}))
