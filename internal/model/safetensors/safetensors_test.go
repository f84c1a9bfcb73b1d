package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// file is a safetensors file with that header and n data bytes 0, 1, 2, ...
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func TestParse(t *testing.T) {
	const two = `{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[1,5]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`
	f, err := Parse(file(two+"   ", 5))
	if err != nil {
		t.Fatal(err)
	}
	want := []Tensor{{"a", "U8", []int{1}, []byte{0}}, {"b", F16, []int{2}, []byte{1, 2, 3, 4}}}
	if diff := cmp.Diff(want, f.Tensors); diff != "" {
		t.Error(diff)
	}
	if f.Metadata["format"] != "pt" {
		t.Errorf("metadata %v", f.Metadata)
	}
	if b, ok := f.Tensor("b"); !ok || b.DType != F16 {
		t.Errorf("Tensor(b) = %v, %v", b, ok)
	}
	if _, ok := f.Tensor("c"); ok {
		t.Error("a tensor that is not there was found")
	}
}

func TestParseAcceptsLegalOddities(t *testing.T) {
	for name, b := range map[string][]byte{
		"no tensors":      file(`{}`, 0),
		"scalar":          file(`{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4),
		"empty dimension": file(`{"e":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]}}`, 0),
		"unknown dtype":   file(`{"q":{"dtype":"Q3_K","shape":[7],"data_offsets":[0,3]}}`, 3),
		"half bytes":      file(`{"q":{"dtype":"F4","shape":[6],"data_offsets":[0,3]}}`, 3),
		"empty at start of another": file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
			"e":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 2),
	} {
		if _, err := Parse(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	huge := binary.LittleEndian.AppendUint64(nil, MaxHeader+1)
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "not a safetensors file", nil},
		{"short prefix", "not a safetensors file", []byte{1, 2, 3}},
		{"huge header", "limit is 100000000", huge},
		{"header past the end", "truncated", file(`{}`, 0)[:9]},
		{"no brace", "does not start with '{'", file(`[]`, 0)},
		{"not UTF-8", "not UTF-8", file("{\"\xff\":1}", 0)},
		{"not JSON", "invalid character", file(`{"a"}`, 0)},
		{"unclosed", "header", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, 0)},
		{"trailing", "closing brace", file(`{}{}`, 0)},
		{"duplicate", `key "a" occurs twice`, file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}`, 0)},
		{"duplicate inside", `key "dtype" occurs twice`, file(`{"a":{"dtype":"U8","dtype":"I8"}}`, 0)},
		{"deep", `tensor "a": shape: want an integer`, file(`{"a":{"shape":[`+strings.Repeat("[", 100000)+`}`, 0)},
		{"unknown key", `tensor "a": colour: unknown key`, file(`{"a":{"colour":1}}`, 0)},
		{"missing key", `tensor "a": dtype, shape and two`, file(`{"a":{"dtype":"U8","shape":[0]}}`, 0)},
		{"metadata value", `__metadata__["k"]: want a string`, file(`{"__metadata__":{"k":1}}`, 0)},
		{"negative", `tensor "a": shape: "-1" is not`, file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}`, 0)},
		{"fraction", `tensor "a": shape: "1.5" is not`, file(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,0]}}`, 0)},
		{"rank", `more than 32`, file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 40)+`1],"data_offsets":[0,1]}}`, 1)},
		{"backwards", `tensor "a": data_offsets [4, 0] run backwards`, file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}`, 4)},
		{"count overflow", `overflows`, file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0)},
		{"byte overflow", `does not take the 0 bytes`, file(`{"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}}`, 0)},
		{"dimension overflow", `too large`, file(`{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]}}`, 0)},
		{"offset overflow", `truncated: tensor "a" ends at byte 18446744073709551615`, file(`{"a":{"dtype":"??","shape":[1],"data_offsets":[0,18446744073709551615]}}`, 1)},
		{"shape and size", `tensor "a": F32 of shape [2] does not take the 4 bytes`, file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4)},
		{"truncated data", `truncated: tensor "a" ends at byte 4 of the data, the file has 3`, file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 3)},
		{"hole at start", `tensor "a" starts at byte 1 of the data: a hole after byte 0`, file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2)},
		{"hole at end", `1 bytes follow the last tensor`, file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2)},
		{"overlap", `tensor "b" starts at byte 1 of the data, inside tensor "a" that ends at 2`, file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
		})
	}
}

func TestWriteThenOpen(t *testing.T) {
	tensors := []Tensor{
		{"x", F32, []int{2, 1}, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"odd", "U8", []int{1}, []byte{9}},
		{`quoted "name"`, BF16, []int{}, []byte{1, 2}},
	}
	var b bytes.Buffer
	if err := Write(&b, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tensors, f.Tensors, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, tensors := range map[string][]Tensor{
		"twice": {{"a", "U8", []int{1}, []byte{1}}, {"a", "U8", []int{1}, []byte{1}}},
		"size":  {{"a", F32, []int{2}, []byte{1, 2, 3, 4}}},
		"name":  {{metadataKey, "U8", []int{1}, []byte{1}}},
	} {
		if err := Write(&bytes.Buffer{}, tensors, nil); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent"), dir, empty} {
		if f, err := Open(path); err == nil {
			t.Errorf("%s: opened: %v", path, f)
		}
	}
}

func TestGuardCatchesAShrunkFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	const n = 1 << 20
	header := `{"a":{"dtype":"U8","shape":[1048576],"data_offsets":[0,1048576]}}`
	if err := os.WriteFile(path, file(header, n), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	var sum int
	err = Guard(func() error {
		for _, b := range f.Tensors[0].Data {
			sum += int(b)
		}
		return nil
	})
	if !errors.Is(err, ErrShrunk) {
		t.Errorf("want ErrShrunk, got %v (sum %d)", err, sum)
	}
}

func TestGuardPassesOtherPanicsOn(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
	}()
	_ = Guard(func() error { panic("a bug") })
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4))
	f.Add(file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}`, 5))
	f.Add(file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0))
	f.Add(file(`{"a":{"shape":[[[[`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := Parse(data)
		if err != nil {
			return
		}
		total := 0
		for _, x := range parsed.Tensors {
			total += len(x.Data)
		}
		if total > len(data) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
		var b bytes.Buffer
		if err := Write(&b, parsed.Tensors, parsed.Metadata); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Parse(b.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(parsed.Tensors, again.Tensors, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
