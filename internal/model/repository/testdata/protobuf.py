"""Writes protobuf.json: what protobuf's own text parser makes of configurations, and what it refuses.

Needs the PyPI packages tritonclient[grpc] (the generated model_config.proto) and protobuf.
"""

import json
import os

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

ACCEPTED_OR_NOT = r'''
name: "a"
name: 'a' "b" 'c\'d'
name: "\n\t\\\"\x41\101\u00e9\U0001F600"
name: "\a\b\f\v\r\?"
name: "unfinished
name: "two
name: "\q"
name: "\xzz"
name: a
name: 1
name "a"
name: "a", platform: "b"; backend: "c"
name: "a",, platform: "b"
name: "a" name: "b"
nam: "a"
max_batch_size: 8
max_batch_size: 0x10
max_batch_size: 010
max_batch_size: -5
max_batch_size: - 5
max_batch_size: +5
max_batch_size: 2147483648
max_batch_size: -2147483648
max_batch_size: 1.5
max_batch_size: 1e1
max_batch_size: "8"
max_batch_size: 8u
max_batch_size: 08
max_batch_size: [ 8 ]
max_batch_size {}
max_batch_size:
:
{
}
input { name: "x" data_type: TYPE_FP32 dims: 3 dims: 4 }
input: { name: "x" dims: [3, 4] }
input < name: "x" >
input [ { name: "x" }, { name: "y" } ]
input: [ { name: "x" }, < name: "y" > ]
input [ { name: "x" } { name: "y" } ]
input [ ]
input: [ ]
input [ { name: "x" }, ]
input { dims: [ ] }
input { dims: [ 1, ] }
input { dims: [ 1 2 ] }
input { dims [ 1, 2 ] }
input { name: "x" ]
input { name: "x"
input { data_type: 11 }
input { data_type: 99 }
input { data_type: TYPE_FP33 }
input { data_type: "TYPE_FP32" }
input { optional: true allow_ragged_batch: t is_shape_tensor: 1 }
input { optional: True }
input { optional: False allow_ragged_batch: f is_shape_tensor: 0 }
input { optional: TRUE }
input { optional: yes }
input { optional: 2 }
input { optional: "true" }
version_policy { latest { num_versions: 2 } }
version_policy { all { } }
version_policy: { specific: { versions: [ 1, 3 ] } }
version_policy { all { } latest { num_versions: 1 } }
version_policy { latest { num_versions: -1 } }
dynamic_batching { } sequence_batching { }
dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 3 } } }
dynamic_batching { priority_queue_policy [ { key: 1 value { } }, { key: 2 value: { timeout_action: DELAY } } ] }
dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 3 } } priority_queue_policy { key: 1 value { max_queue_size: 4 } } }
dynamic_batching { priority_queue_policy { key: "1" } }
dynamic_batching { priority_queue_policy { kay: 1 } }
dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }
dynamic_batching { max_queue_delay_microseconds: 18446744073709551616 }
parameters { key: "k" value { string_value: "v" } }
parameters: { key: "k", value: { string_value: "v" } }, parameters { key: "l" }
metric_tags { key: "k" value: "v" }
sequence_batching { direct { minimum_slot_utilization: 0.5 } }
sequence_batching { direct { minimum_slot_utilization: .5f } }
sequence_batching { direct { minimum_slot_utilization: 1 } }
sequence_batching { direct { minimum_slot_utilization: 25e-2 } }
sequence_batching { direct { minimum_slot_utilization: -2.5E+1 } }
sequence_batching { control_input [ { name: "S" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] } ] }
model_warmup { name: "w" inputs { key: "x" value { zero_data: true } } }
model_warmup { name: "w" inputs { key: "x" value { zero_data: true random_data: true } } }
model_warmup { name: "w" inputs { key: "x" value { zero_data: false } } }
optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ] } }
optimization { cuda { graphs: true graph_spec { batch_size: 4 input { key: "x" value { dim: [ 1, 2 ] } } graph_lower_bound { batch_size: 2 } } } }
instance_group [ { kind: KIND_GPU count: 2 gpus: [ 0, 1 ] rate_limiter { resources [ { name: "R" global: true count: 4 } ] priority: 2 } } ]
ensemble_scheduling { step [ { model_name: "a" model_version: -1 input_map { key: "i" value: "o" } } ] }
model_metrics { metric_control: [ { metric_identifier: { family: "f" } histogram_options: { buckets: [ 1, 2.5 ] } } ] }
response_cache { enable: true } model_transaction_policy { decoupled: True }
# only a comment
name: "a" # behind # it
name: "#"
[x.y]: 1
name: "a" /* no */
'''.strip("\n").split("\n")


def plain(message):
    out = {}
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            out[field.name] = {str(k): one(inner, v) for k, v in value.items()}
        elif field.is_repeated:
            out[field.name] = [one(field, v) for v in value]
        else:
            out[field.name] = one(field, value)
    return out


def one(field, value):
    if field.message_type:
        return plain(value)
    if field.enum_type:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    return value


def main():
    cases = []
    for text in ACCEPTED_OR_NOT:
        try:
            cases.append({"text": text, "value": plain(text_format.Parse(text, model_config_pb2.ModelConfig()))})
        except (text_format.ParseError, UnicodeDecodeError):
            cases.append({"text": text})
    with open(os.path.dirname(os.path.abspath(__file__)) + "/protobuf.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


main()
