"""Makes ort_trace.json, ort_trace.onnx and ort_trace.expected.json: a profile that ONNX Runtime wrote of a
small model, and what the standard library adds up of it.

    python ort_trace.py     (needs onnx and onnxruntime)
"""
import json
import os
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(1)
w = [helper.make_tensor(f"w{i}", TensorProto.FLOAT, [32, 32], rng.standard_normal(1024).astype("f4")) for i in range(2)]
nodes = [helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("Softmax", ["a"], ["b"]),
         helper.make_node("MatMul", ["b", "w1"], ["c"]), helper.make_node("Transpose", ["c"], ["y"])]
graph = helper.make_graph(nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 32])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [32, 4])], w)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("com.example", 3), helper.make_opsetid("", 17)])
model.ir_version = 8
onnx.save(model, here / "ort_trace.onnx")
options = ort.SessionOptions()
options.enable_profiling = True
options.profile_file_prefix = str(here / "run")
options.intra_op_num_threads = 1
session = ort.InferenceSession(str(here / "ort_trace.onnx"), options, providers=["CPUExecutionProvider"])
for _ in range(4):
    session.run(None, {"x": rng.standard_normal((4, 32)).astype("f4")})
trace = session.end_profiling()
os.replace(trace, here / "ort_trace.json")

events = json.load(open(here / "ort_trace.json"))
runs = sorted((e["ts"], e["dur"]) for e in events if e["name"] == "model_run")
expected = {}
for skip in (0, 1):
    ops = {}
    for e in events:
        if e["cat"] == "Node" and e["name"].endswith("_kernel_time") and e["ts"] >= runs[skip][0]:
            key = e["args"]["op_name"] + "/" + e["args"]["provider"]
            total, count = ops.get(key, (0, 0))
            ops[key] = (total + e["dur"], count + 1)
    expected[str(skip)] = {"runs_us": [d for _, d in runs[skip:]], "operators": ops}
json.dump(expected, open(here / "ort_trace.expected.json", "w"), indent=1)
