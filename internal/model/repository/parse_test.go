package repository

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// protobufDiffers are texts that this parser treats otherwise than protobuf's for Python, and why.
var protobufDiffers = map[string]string{
	`name: "\a\b\f\v\r\?"`:    `the text format's specification has \? for ?; protobuf's C++ reads it so, its Python keeps the backslash`,
	`name: "\q"`:              "no such escape is specified; C++ refuses it",
	`max_batch_size: - 5`:     "the specification and C++ allow white space behind the sign",
	`max_batch_size: +5`:      "no such sign is specified; C++ refuses it",
	`input { data_type: 99 }`: "a type that does not exist is told when the file is read, not when it is used",
}

// TestParseAsProtobuf compares with what protobuf's parser made of the same texts (testdata/protobuf.py).
func TestParseAsProtobuf(t *testing.T) {
	var cases []struct {
		Text  string
		Value *map[string]any
	}
	b, err := os.ReadFile("testdata/protobuf.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 80 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		if protobufDiffers[c.Text] != "" {
			continue
		}
		got, err := Parse([]byte(c.Text))
		switch {
		case c.Value == nil && err == nil:
			t.Errorf("%s\naccepted, protobuf refuses it", c.Text)
		case c.Value != nil && err != nil:
			t.Errorf("%s\nrefused, protobuf accepts it: %v", c.Text, err)
		case c.Value != nil:
			if d := cmp.Diff(pruned(*c.Value), pruned(asMap(t, got))); d != "" {
				t.Errorf("%s\nprotobuf -, here +:\n%s", c.Text, d)
			}
		}
	}
}

func asMap(t *testing.T, v any) (m map[string]any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// pruned leaves out what is a default, from messages and maps but not from lists.
func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, item := range v {
			if p := pruned(item); !isDefault(p) {
				out[k] = p
			}
		}
		return out
	case []any:
		out := []any{}
		for _, item := range v {
			out = append(out, pruned(item))
		}
		return out
	}
	return v
}

var defaultNames = []any{nil, "", 0.0, false, "TYPE_INVALID", "FORMAT_NONE", "KIND_AUTO", "REJECT", "PRIORITY_DEFAULT", "CONTROL_SEQUENCE_START"}

func isDefault(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return slices.Contains(defaultNames, v)
}

// TestParseErrors holds the place and, where Triton was seen to say it, the words of errors.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"name: \"misspelt\"\nbackend: \"python\"\nmax_batch_size: 4\nmax_delay: 7\n",
			`4:10: Message type "inference.ModelConfig" has no field named "max_delay".`}, // Triton's log says this
		{"dynamic_batching {\n\tdelay: 1\n}", `2:14: Message type "inference.ModelDynamicBatching" has no field named "delay".`},
		{"version_policy { latest { num: 1 } }", `1:30: Message type "inference.ModelVersionPolicy.Latest" has no field named "num".`},
		{"name: \"a\" name: \"b\"", `1:15: Non-repeated field "name" is specified multiple times.`},
		{"dynamic_batching { } sequence_batching { }", `1:40: Field "sequence_batching" is specified along with field "dynamic_batching", another member of oneof "scheduling_choice".`},
		{"max_batch_size: 1.5", `1:17: Expected integer, got: 1.5`},
		{"max_batch_size: 2147483648", `1:17: Integer out of range (2147483648)`},
		{"input { optional: maybe }", `1:19: Invalid value for boolean field. Value: "maybe".`},
		{"name: \"a", `1:9: Unexpected end of string.`},
		{"\xff", `1:1: the file is not UTF-8`},
		{strings.Repeat("input {", 200), `1:708: Message is too deep, the parser exceeded the configured recursion limit of 100.`},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.60q\n got %v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := Parse(make([]byte, MaxConfigBytes+1)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a file over the limit: %v", err)
	}
}

const transcripts = "../../../testdata/triton"

// TestConfigAsTriton reads the files of the recorded server and compares with what that server
// answered for GET /v2/models/M/config.
func TestConfigAsTriton(t *testing.T) {
	r, err := Open(filepath.Join(transcripts, "models"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, want := range recordedConfigs(t) {
		dir, err := r.find(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := readLimited(filepath.Join(dir, configFile))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.complete(name)
		if d := cmp.Diff(want, asMap(t, c)); d != "" {
			t.Errorf("%s: Triton -, here +:\n%s", name, d)
		}
		n++
	}
	if n < 10 {
		t.Errorf("only %d configurations compared", n)
	}
}

// recordedConfigs are the answers to GET /v2/models/M/config, by model.
func recordedConfigs(t *testing.T) map[string]map[string]any {
	f, err := os.Open(filepath.Join(transcripts, "corpus.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for d := json.NewDecoder(z); d.More(); {
		var e struct {
			Name    string
			Answers []struct {
				Status int
				Body   struct{ Text string }
			}
		}
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		model, isConfig := strings.CutSuffix(strings.TrimPrefix(e.Name, "GET /v2/models/"), "/config")
		if !isConfig || strings.Contains(model, "/") || len(e.Answers) == 0 || e.Answers[0].Status != 200 {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(e.Answers[0].Body.Text), &m); err != nil {
			t.Fatal(err)
		}
		all[model] = m
	}
	return all
}

func TestParseJSON(t *testing.T) {
	text, err := os.ReadFile("testdata/reference/openclip_vit_b32_trt/config.pbtxt")
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(asMap(t, want), asMap(t, got)); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "x", "[]", `{"max_delay":1}`, `{"name":1}`, `{"input":[{"data_type":"TYPE_X"}]}`, `{"input":[{"data_type":99}]}`, `{}{}`} {
		if _, err := ParseJSON([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// FuzzParse wants: no crash, and what is accepted survives a way through JSON.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(transcripts, "models", "*", configFile))
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, p := range append(paths, "testdata/reference/openclip_vit_b32_trt/config.pbtxt") {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`name: "\x41\u00e9" input < dims: [ 0x1, -1 ] > dynamic_batching { priority_queue_policy { key: 1 } }`))
	f.Add([]byte("sequence_batching { direct { minimum_slot_utilization: 1e-3f } } # x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseJSON(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if b2, _ := json.Marshal(again); string(b2) != string(b) {
			t.Fatalf("%s\n%s", b, b2)
		}
		c.complete("m")
		_ = c.validate()
		_ = c.Check(&Abilities{})
	})
}
