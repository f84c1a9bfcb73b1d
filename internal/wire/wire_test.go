package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/tensor"
)

func le32(v ...float32) (b []byte) {
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func TestFloat32IsTheNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"0", "-0.0", "1", "0.1", "16777217", "16777219", "1e-46", "1e39", "-1e39", "3.4028235677973366e38",
		"3.4028234e38", "1.17549435e-38", "1e-45", "7e-46", "0.3333333333333333333333", "1E5", "123456789012345678901234567890",
		"0.000000000000000000000001234", "1.00000017881393432617187499", "1.00000017881393432617187500", "1.00000017881393432617187501",
		"9007199254740993", "9007199791611905", "5e-324", "1e308"}
	for range 200_000 {
		f := math.Float32frombits(r.Uint32())
		if f-f != 0 {
			continue
		}
		texts = append(texts, strconv.FormatFloat(float64(f), 'g', -1, 64), strconv.FormatFloat(r.Float64(), 'f', -1, 64))
		// the middle between two float32 values, and its neighbours
		middle := (float64(f) + float64(math.Nextafter32(f, math.MaxFloat32))) / 2
		for _, m := range []float64{middle, math.Nextafter(middle, 0), math.Nextafter(middle, math.MaxFloat64)} {
			texts = append(texts, strconv.FormatFloat(m, 'g', -1, 64), strconv.FormatFloat(m, 'g', 19, 64))
		}
	}
	for _, text := range texts {
		want, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		got, n, err := parseData(nil, []byte("["+text+"]"), tensor.FP32, 1)
		if long, _, err := parseData(nil, []byte("["+text+","+text+", 1.00000000000000000000000000000]"), tensor.FP32, 3); err != nil || string(long[:4]) != string(got) || string(long[4:8]) != string(got) {
			t.Fatalf("%s in a row: %x, alone %x, %v", text, long, got, err)
		}
		if err != nil || n != len(text)+2 || !bytes.Equal(got, le32(float32(want))) {
			t.Fatalf("%s: %x, want %x, %v", text, got, le32(float32(want)), err)
		}
		got, _, err = parseData(nil, []byte("["+text+"]"), tensor.FP64, 1)
		if err != nil || math.Float64frombits(binary.LittleEndian.Uint64(got)) != want {
			t.Fatalf("%s: %x, want %v, %v", text, got, want, err)
		}
	}
}

func TestData(t *testing.T) {
	for _, c := range []struct {
		text  string
		d     tensor.DType
		count int64
		want  string // bytes, or the error
	}{
		{"[1,2]", tensor.Uint8, 2, "\x01\x02"},
		{" [ [1 , 2],\n[3]\t] ", tensor.Uint8, 3, "\x01\x02\x03"},
		{"[[],[1,[[2]]],[]]", tensor.Uint8, 2, "\x01\x02"},
		{"[256,-0]", tensor.Uint8, 2, "\x00\x00"},
		{"[-129,128]", tensor.Int8, 2, "\x7f\x80"},
		{"[true,false]", tensor.Bool, 2, "\x01\x00"},
		{"[18446744073709551615]", tensor.Uint64, 1, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"[-9223372036854775808]", tensor.Int64, 1, "\x00\x00\x00\x00\x00\x00\x00\x80"},
		{`["ab",["\u00e9\ud83d\ude00"]]`, tensor.Bytes, 2, "\x02\x00\x00\x00ab\x06\x00\x00\x00é😀"},
		{"[1.5,[-2]]", tensor.FP32, 2, string(le32(1.5, -2))},
		{"[Infinity,-Inf]", tensor.FP32, 2, string(le32(float32(math.Inf(1)), float32(math.Inf(-1))))},
		{"[[1,2],[3]]", tensor.FP32, 3, string(le32(1, 2, 3))},

		{"[18446744073709551616]", tensor.Uint64, 1, "attempt to access JSON non-unsigned-integer as unsigned-integer"},
		{"[9223372036854775808]", tensor.Int64, 1, "attempt to access JSON non-signed-integer as signed-integer"},
		{"[-1]", tensor.Uint8, 1, "attempt to access JSON non-unsigned-integer as unsigned-integer"},
		{"[1.0]", tensor.Int32, 1, "attempt to access JSON non-signed-integer as signed-integer"},
		{"[1]", tensor.Bool, 1, "attempt to access JSON non-boolean as boolean"},
		{"[1]", tensor.Bytes, 1, "attempt to access JSON non-string as string"},
		{"[true]", tensor.FP32, 1, "attempt to access JSON non-number as double"},
		{`[{"a":[1]}]`, tensor.FP64, 1, "attempt to access JSON non-number as double"},
		{"1", tensor.FP32, 1, "attempt to access JSON non-array as array"},
		{"[1,2]", tensor.FP32, 1, "Shape does not match true shape of 'data' field"},
		{"[1,2]", tensor.FP32, 3, "Shape does not match true shape of 'data' field"},
		{"[1,2]", tensor.FP32, 1 << 60, "Shape does not match true shape of 'data' field"},
		{"[1,2]", tensor.Int32, 1 << 60, "Shape does not match true shape of 'data' field"},
		{"[1 2]", tensor.FP32, 2, "failed to parse the request JSON buffer: Missing a comma or ']' after an array element. at 3"},
		{"[1,]", tensor.Int32, 2, "failed to parse the request JSON buffer: Invalid value. at 3"},
		{"[1e400]", tensor.FP32, 1, "failed to parse the request JSON buffer: Number too big to be stored in double. at 1"},
		{"[5.]", tensor.FP32, 1, "failed to parse the request JSON buffer: Miss fraction part in number. at 3"},
		{"[5e]", tensor.FP32, 1, "failed to parse the request JSON buffer: Miss exponent in number. at 3"},
		{"[", tensor.FP32, 1, "failed to parse the request JSON buffer: Invalid value. at 1"},
		{`["\ud800"]`, tensor.Bytes, 1, "failed to parse the request JSON buffer: The surrogate pair in string is invalid. at 2"},
		{strings.Repeat("[", 101) + "1" + strings.Repeat("]", 101), tensor.FP32, 1, "JSON nesting depth exceeds maximum allowed limit (100)"},
		{strings.Repeat("[", 100) + "1" + strings.Repeat("]", 100), tensor.Uint8, 1, "\x01"},
	} {
		got, _, err := parseData(nil, []byte(c.text), c.d, c.count)
		if err != nil && err.Error() == c.want || err == nil && string(got) == c.want {
			continue
		}
		t.Errorf("%.50s %v: %q, %v", c.text, c.d, got, err)
	}
}

// TestAClaimCostsNothing: a shape of an exabyte in a small request.
func TestAClaimCostsNothing(t *testing.T) {
	body := []byte(`{"inputs":[{"name":"x","datatype":"FP64","shape":[144115188075855871],"data":[1,2]}]}`)
	var r Request
	if err := r.Parse(body, len(body), "m"); err == nil || cap(r.memory) > len(body)*8 {
		t.Errorf("%v, %d bytes", err, cap(r.memory))
	}
}

func TestAppendFloat(t *testing.T) {
	for f, want := range map[float64]string{
		1: "1.0", 0.1: "0.1", float64(float32(0.1)): "0.10000000149011612", 1e21: "1e21", 1e20: "100000000000000000000.0",
		float64(float32(1e-7)): "1.0000000116860974e-7", 1e-6: "0.000001", 1e-7: "1e-7", 3.4028234663852886e38: "3.4028234663852887e38", float64(float32(1e21)): "1.0000000200408774e21",
		5e-324: "5e-324", 1.7e308: "1.7e308", -2.5: "-2.5", 123456789012345680: "123456789012345680.0", math.Inf(-1): "-Infinity",
		1.234e-10: "1.234e-10",
	} {
		if got := string(AppendFloat(nil, f)); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
	if got := string(AppendFloat([]byte("x"), math.NaN())); got != "xNaN" {
		t.Error(got)
	}
}

// TestDigitsReadBack prints random numbers, and those at powers of two, where the neighbours differ.
func TestDigitsReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	check := func(f float64) {
		if f-f != 0 {
			return
		}
		text := AppendFloat(nil, f)
		if got, err := strconv.ParseFloat(string(text), 64); err != nil || got != f || len(text) > 26 && (math.Abs(f) < 1e-6 || math.Abs(f) >= 1) {
			t.Fatalf("%g: %s, %v", f, text, err)
		}
	}
	for range 300_000 {
		check(math.Float64frombits(r.Uint64()))
		check(float64(math.Float32frombits(r.Uint32())))
		check(r.NormFloat64())
	}
	for e := -1074; e < 1024; e++ {
		check(math.Ldexp(1, e))
		check(math.Nextafter(math.Ldexp(1, e), 0))
	}
}

func parse(t *testing.T, body string, header int) (*Request, error) {
	t.Helper()
	r := &Request{}
	return r, r.Parse([]byte(body), header, "m")
}

func TestRequestInAnyOrder(t *testing.T) {
	body := `{"outputs":[{"parameters":{"binary_data":true,"classification":3},"name":"o"}],
	"parameters":{"priority":2,"timeout":5,"sequence_id":"s","sequence_end":true,"mine":-7,"f":1.5},"id":"\u0041b",
	"inputs":[{"data":[[1,2]],"shape":[1,2],"datatype":"FP32","name":"a"},
	{"name":"b","parameters":{"binary_data_size":3,"x":"y"},"shape":[3],"datatype":"UINT8"}]}`
	r, err := parse(t, body+"xyz", len(body))
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != "Ab" || r.Params.Priority != 2 || r.Params.Timeout != 5 || r.Params.SequenceName != "s" || !r.Params.SequenceEnd ||
		r.Params.Custom["mine"] != int64(-7) || r.Params.Custom["f"] != 1.5 {
		t.Errorf("%+v", r.Params)
	}
	a, b := r.Inputs[0], r.Inputs[1]
	if string(a.Data) != string(le32(1, 2)) || a.Name != "a" || string(b.Data) != "xyz" || b.DType != tensor.Uint8 || b.Shape[0] != 3 || b.Params["x"] != "y" {
		t.Errorf("%+v %+v", a, b)
	}
	if o := r.Outputs[0]; !o.Binary || o.Classes != 3 || o.Name != "o" {
		t.Errorf("%+v", o)
	}
}

func TestRequestErrors(t *testing.T) {
	in := func(s string) string { return `{"inputs":[{"name":"x","datatype":"FP32",` + s + `}]}` }
	for body, want := range map[string]string{
		`{}`:                   "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'",
		`null`:                 "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'",
		`{"inputs":{}}`:        "Unable to parse 'inputs': attempt to access JSON non-array as array",
		"":                     "failed to parse the request JSON buffer: The document is empty. at 0",
		`{}{}`:                 "failed to parse the request JSON buffer: The document root must not be followed by other values. at 2",
		`{"a":tru}`:            "failed to parse the request JSON buffer: Invalid value. at 8",
		`{"a":01}`:             "failed to parse the request JSON buffer: Missing a comma or '}' after an object member. at 6",
		"{\"a\":\"\n\"}":       "failed to parse the request JSON buffer: Invalid escape character in string. at 6",
		`{"inp`:                "failed to parse the request JSON buffer: Missing a closing quotation mark in string. at 5",
		`{"inputs":[],"id":1}`: "Unable to parse 'id': attempt to access JSON non-string as string",
		`{"inputs":[1]}`:       "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But no field is set",
		in(`"shape":[1],"data":[1],"parameters":{"binary_data_size":4}`): "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But set 'data' 'binary_data_size'",
		in(`"shape":[1,-1],"data":[1]`):                                  "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer",
		in(`"shape":[1],"data":[{}]`):                                    "Unable to parse 'data': attempt to access JSON non-number as double",
		in(`"shape":[1],"data":[{]`):                                     "failed to parse the request JSON buffer: Missing a name for object member. at 62",
		in(`"data":[1]`):                                                 "Unable to parse 'shape': attempt to access non-existing object member 'shape'",
		in(`"shape":[1],"parameters":{"binary_data_size":4}`):            "unexpected size for input 'x', expecting 4 additional bytes for model 'm'",
		`{"inputs":[],"parameters":[]}`:                                  "failed to get request params.: attempt to get members for non-object",
		`{"inputs":[],"parameters":{"triton_x":1}}`:                      "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
		`{"inputs":[],"parameters":{"a":null}}`:                          "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'.",
		`{"inputs":[],"parameters":{"sequence_id":-1}}`:                  "Unable to parse 'sequence_id': attempt to access JSON non-string as string",
		`{"inputs":[],"outputs":["x"]}`:                                  "Unable to parse 'name': attempt to access non-existing object member 'name'",
	} {
		if _, err := parse(t, body, len(body)); err == nil || err.Error() != want {
			t.Errorf("%s:\n%v, want\n%s", body, err, want)
		}
	}
	if _, err := parse(t, `{"inputs":[]}x`, 13); err == nil || err.Error() != "unexpected additional input data for model 'm'" {
		t.Error(err)
	}
}

func TestDeepNestingElsewhereIsSkipped(t *testing.T) {
	deep := strings.Repeat(`[{"a":`, 50_000) + "1" + strings.Repeat("}]", 50_000)
	if _, err := parse(t, `{"inputs":[],"x":`+deep+`}`, 17+len(deep)+1); err != nil {
		t.Error(err)
	}
}

func TestResponse(t *testing.T) {
	r := Response{ID: "7", Model: "m", Version: "1", Params: map[string]any{"k": true}, Tensors: []ResponseTensor{
		{Name: "a", DType: tensor.FP32, Shape: []int64{1, 2}, Data: le32(1, 0.5)},
		{Name: "b", DType: tensor.Uint8, Shape: []int64{2}, Data: []byte("xy"), Binary: true},
		{Name: "c", DType: tensor.Bytes, Shape: []int64{2}, Data: []byte("\x01\x00\x00\x00\"\x00\x00\x00\x00")},
		{Name: "d", DType: tensor.Bool, Shape: []int64{0}},
		{Name: "e", DType: tensor.Bool, Shape: []int64{1}, Shared: true},
	}}
	b, header, more, err := r.Append([]byte("before"))
	const want = `{"id":"7","model_name":"m","model_version":"1","parameters":{"k":true},"outputs":[` +
		`{"name":"a","datatype":"FP32","shape":[1,2],"data":[1.0,0.5]},{"name":"b","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},` +
		`{"name":"c","datatype":"BYTES","shape":[2],"data":["\"",""]},{"name":"d","datatype":"BOOL","shape":[0],"data":[]},{"name":"e","datatype":"BOOL","shape":[1]}]}`
	if err != nil || !more || header != len(want) || string(b) != "before"+want+"xy" {
		t.Errorf("%v %v %d\n%s", err, more, header, b)
	}
	r.Tensors = []ResponseTensor{{Name: "h", DType: tensor.FP16, Shape: []int64{1}, Data: []byte{0, 0}}}
	if _, _, _, err := r.Append(nil); err == nil {
		t.Error("FP16 was printed")
	}
}

// image is a request as the official client writes it: 150,528 float32 values as Python prints them.
func image(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	fmt.Fprintf(&b, `{"inputs": [{"name": "image", "shape": [1, %d], "datatype": "FP32", "data": [`, n)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatFloat(float64(float32(r.NormFloat64())), 'f', -1, 64))
	}
	b.WriteString("]}]}")
	return []byte(b.String())
}

func TestNoAllocationForATensor(t *testing.T) {
	if raced {
		t.Skip("the race detector's code allocates")
	}
	body := image(1000)
	var r Request
	if n := testing.AllocsPerRun(20, func() {
		if err := r.Parse(body, len(body), "m"); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a request", n)
	}
	from := bytes.Index(body, []byte("[0")) // the data's bracket, whatever its first number
	if i := bytes.Index(body, []byte(`"data": `)); i >= 0 {
		from = i + 8
	}
	var memory []byte
	if n := testing.AllocsPerRun(20, func() { memory, _, _ = parseData(memory[:0], body[from:], tensor.FP32, 1000) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(memory) != 4000 {
		t.Fatal(len(memory))
	}
}

func BenchmarkParseImage(b *testing.B) {
	body := image(3 * 224 * 224)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var r Request
	for b.Loop() {
		if err := r.Parse(body, len(body), "m"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEmbedding(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	var data []byte
	for range 512 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(r.NormFloat64())))
	}
	out := make([]byte, 0, 1<<16)
	b.ReportAllocs()
	for b.Loop() {
		out, _ = AppendData(out[:0], tensor.FP32, data, "x")
	}
}

// FuzzParse compares with encoding/json: what it takes must be read, to the same values.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,[2.5e-3]]}]}`), 75)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}]}ab`), 93)
	f.Add([]byte(`{"id":"\ud83d\ude00","inputs":[{"data":["a"],"datatype":"BYTES","shape":[1],"name":""}],"outputs":[{"name":"y"}],"parameters":{"a":1}}`), 10)
	f.Fuzz(func(t *testing.T, body []byte, header int) {
		if header < 0 || header > len(body) {
			header = len(body)
		}
		var r Request
		err := r.Parse(body, header, "m")
		if err != nil {
			if strings.Contains(err.Error(), "failed to parse the request JSON buffer") && json.Valid(body[:header]) &&
				!strings.Contains(err.Error(), errTooBig) && !strings.Contains(err.Error(), errSurrogate) {
				t.Errorf("%q is JSON: %v", body[:header], err)
			}
			return
		}
		for i := range r.Inputs {
			in := &r.Inputs[i]
			if len(in.Data) > 8*len(body) {
				t.Errorf("%d bytes of a body of %d", len(in.Data), len(body))
			}
		}
	})
}

// FuzzNumbers compares each number with encoding/json's.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"1.5", "-0", "1e5", "123456789012345678901", "0.1e-7", "1.00000017881393432617187499"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want float64
		jsonErr := json.Unmarshal([]byte(text), &want)
		got, n, err := parseData(nil, []byte("["+text+"]"), tensor.FP64, 1)
		single, _, err32 := parseData(nil, []byte("["+text+"]"), tensor.FP32, 1)
		if strings.TrimSpace(text) == "null" || strings.ContainsAny(text, "[]NI,") {
			return
		}
		if (jsonErr == nil) != (err == nil) || (err == nil) != (err32 == nil) {
			t.Fatalf("%q: encoding/json says %v, this %v, %v", text, jsonErr, err, err32)
		}
		if err != nil {
			return
		}
		if n != len(text)+2 || math.Float64frombits(binary.LittleEndian.Uint64(got)) != want || !bytes.Equal(single, le32(float32(want))) {
			t.Errorf("%q: %x %x, want %v", text, got, single, want)
		}
	})
}

// parseData parses the tensor at the start of text, [1,[2,3]] flat or nested in any way, and appends its
// count elements to dst: little-endian, BYTES with their lengths. It returns what it read of text. It
// never makes dst larger than the text could fill.
func parseData(dst, text []byte, d tensor.DType, count int64) (out []byte, n int, err error) {
	s := scanner{b: text}
	out, err = s.data(dst, d, count)
	return out, s.p, err
}
