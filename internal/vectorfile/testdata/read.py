"""Reads out.npy, out.jsonl and out.parquet of a folder with NumPy and pyarrow and checks that they hold
the 11 rows of writer_test.go. Independent of the Go code: that is its use.

    go test ./internal/vectorfile -run NumPy -python python3      (numpy, pyarrow)
"""
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

folder = sys.argv[1]
want = np.array(
    [[n, -np.float32(n) / np.float32(3), np.float32(1e-8) * np.float32(n)] if n % 4 != 3 else [np.nan] * 3 for n in range(11)],
    dtype=np.float32,
)
paths = [f'photos/{n} "é".jpg' for n in range(11)]

got = np.load(f"{folder}/out.npy", mmap_mode="r")
assert got.dtype == np.float32 and got.shape == (11, 3) and got.offset % 64 == 0, (got.dtype, got.shape)
np.testing.assert_array_equal(got, want)
head, *index = [json.loads(line) for line in open(f"{folder}/out.npy.index.jsonl", encoding="utf-8")]
assert head["space"] == "sha256:abc" and head["dim"] == 3, head
assert [line["path"] for line in index] == paths and [line["row"] for line in index] == list(range(11))
assert [line.get("error") for line in index] == ["truncated <image>" if n % 4 == 3 else None for n in range(11)]

for n, line in enumerate(open(f"{folder}/out.jsonl", encoding="utf-8")):
    row = json.loads(line)
    assert row["path"] == paths[n] and row["space"] == "sha256:abc"
    assert row["embedding"] is None if n % 4 == 3 else np.array_equal(np.float32(row["embedding"]), want[n]), row

table = pq.read_table(f"{folder}/out.parquet")
kind = table.schema.field("embedding").type
assert pa.types.is_list(kind) and kind.value_type == pa.float32(), kind
assert table.column("path").to_pylist() == paths
for n, (vector, error) in enumerate(zip(table.column("embedding").to_pylist(), table.column("error").to_pylist())):
    assert (vector is None) == (n % 4 == 3) and (error is not None) == (n % 4 == 3), (n, vector, error)
    assert vector is None or np.array_equal(np.float32(vector), want[n])
assert pq.read_metadata(f"{folder}/out.parquet").metadata[b"vitrine.space"] == b"sha256:abc"
column = pq.read_metadata(f"{folder}/out.parquet").row_group(0)
assert {column.column(i).path_in_schema.split(".")[0]: column.column(i).compression for i in range(3)}["embedding"] == "UNCOMPRESSED"
print("numpy", np.__version__, "pyarrow", pa.__version__, "read the same:", kind)
