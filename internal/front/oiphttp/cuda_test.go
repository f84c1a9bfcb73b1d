package oiphttp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
)

// cardMemory is memory of a card that is not there.
type cardMemory struct{ content []byte }

func (c *cardMemory) Size() uint64 { return uint64(len(c.content)) }
func (c *cardMemory) Read(to []byte, offset uint64) error {
	copy(to, c.content[offset:])
	return nil
}
func (c *cardMemory) Write(from []byte, offset uint64) error {
	copy(c.content[offset:], from)
	return nil
}
func (*cardMemory) Close() error { return nil }

// withCards serves the sample models; card 1 has memory that the handle of nines names.
func withCards(t *testing.T, m *cardMemory) http.Handler {
	t.Helper()
	registry := oip.NewRegistry(nil)
	for _, m := range samples.Default() {
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	server := oip.NewServer(registry, nil)
	server.Regions.Card = func(device int, handle [oip.HandleSize]byte) (oip.CardMemory, error) {
		if device != 1 || !bytes.Equal(handle[:], nines) {
			return nil, errors.New("invalid argument")
		}
		return m, nil
	}
	mux := http.NewServeMux()
	New(Options{Front: front.New(front.Options{}), Server: server}).Register(mux)
	return mux
}

var nines = bytes.Repeat([]byte{9}, oip.HandleSize)

// TestCUDAMemory: registration with Triton's answers (testdata/triton has those for a wrong handle), status,
// inference from it and into it, and its end.
func TestCUDAMemory(t *testing.T) {
	m := &cardMemory{make([]byte, 256)}
	for i := range 32 {
		m.content[4*i] = byte(i)
	}
	h := withCards(t, m)
	handle := base64.StdEncoding.EncodeToString(nines)
	good := fmt.Sprintf(`{"raw_handle":{"b64":%q},"device_id":1,"byte_size":256}`, handle)
	const v2, infer = "/v2/cudasharedmemory", "/v2/models/simple/infer"
	part := func(at int) string {
		return fmt.Sprintf(`"parameters":{"shared_memory_region":"r","shared_memory_offset":%d,"shared_memory_byte_size":64}`, at)
	}
	request := `{"inputs":[{"name":"INPUT0","datatype":"INT32","shape":[1,16],` + part(0) + `},` +
		`{"name":"INPUT1","datatype":"INT32","shape":[1,16],` + part(64) + `}],"outputs":[{"name":"OUTPUT0",` + part(128) + `}]}`
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"GET", v2 + "/status", "", 200, "[]"},
		{"GET", v2 + "/region/none/status", "", 404, `{"error":"Unable to find cuda shared memory region: 'none'"}`},
		{"POST", v2 + "/region/r/register", `{"raw_handle":{"b64":"AAAA"},"device_id":0,"byte_size":64}`, 400,
			`{"error":"'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t"}`},
		{"POST", v2 + "/region/r/register", "{}", 400, `{"error":"Shared memory register request has no 'raw_handle' field"}`},
		{"POST", v2 + "/region/r/register", "", 400, `{"error":"Shared memory register request has no 'raw_handle' field"}`},
		{"POST", v2 + "/register", good, 400, `{"error":"'region name' is necessary to register cuda shared memory region"}`},
		{"POST", v2 + "/region/r/register", `{"raw_handle":{},"device_id":1,"byte_size":8}`, 500, `{"error":"attempt to access non-existing object member 'b64'"}`},
		{"POST", v2 + "/region/r/register", `{"raw_handle":{"b64":7},"device_id":1,"byte_size":8}`, 500, `{"error":"attempt to access JSON non-string as string"}`},
		{"POST", v2 + "/region/r/register", `{"raw_handle":{"b64":"A"},"device_id":1}`, 500, `{"error":"attempt to access non-existing object member 'byte_size'"}`},
		{"POST", v2 + "/region/r/register", `{"raw_handle":{"b64":"A"},"device_id":-1,"byte_size":8}`, 500,
			`{"error":"attempt to access JSON non-unsigned-integer as unsigned-integer"}`},
		{"POST", v2 + "/region/r/register", strings.Replace(good, `"device_id":1`, `"device_id":0`, 1), 400,
			`{"error":"failed to register shared memory region: invalid args"}`},
		{"POST", v2 + "/region/r/register", strings.Replace(good, "256", "257", 1), 400, `{"error":"failed to register shared memory region 'r': invalid args"}`},
		{"POST", v2 + "/region/r/register", good, 200, ""},
		{"POST", v2 + "/region/r/register", good, 400, `{"error":"shared memory region 'r' already in manager"}`},
		{"GET", v2 + "/status", "", 200, `[{"name":"r","device_id":1,"byte_size":256}]`},
		{"GET", v2 + "/region/r/status", "", 200, `[{"name":"r","device_id":1,"byte_size":256}]`},
		{"GET", "/v2/systemsharedmemory/status", "", 200, "[]"},
		{"POST", "/v2/systemsharedmemory/unregister", "", 200, ""},
		{"POST", infer, request, 200, `{"model_name":"simple","model_version":"1","outputs":[{"name":"OUTPUT0","datatype":"INT32","shape":[1,16]}]}`},
		{"POST", infer, strings.Replace(request, `"shared_memory_offset":128`, `"shared_memory_offset":224`, 1), 400,
			`{"error":"Invalid offset + byte size for shared memory region: 'r'"}`},
		{"POST", v2 + "/region/r/unregister", "", 200, ""},
		{"GET", v2 + "/status", "", 200, "[]"},
		{"POST", infer, request, 404, `{"error":"Unable to find shared memory region: 'r'"}`},
		{"POST", v2 + "/region/r/register", good, 200, ""},
		{"POST", v2 + "/unregister", "", 200, ""},
		{"GET", v2 + "/status", "", 200, "[]"},
	} {
		w := ask(h, c.method, c.path, c.body)
		if body := w.Body.String(); w.Code != c.code || body != c.text {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, w.Code, body, c.code, c.text)
		}
	}
	for i := range 16 { // OUTPUT0 is the sum
		if got := m.content[128+4*i]; int(got) != i+i+16 {
			t.Errorf("element %d of the sum is %d", i, got)
		}
	}
}

// TestLenientBase64: what libb64 passes over.
func TestLenientBase64(t *testing.T) {
	for text, want := range map[string]string{
		"aGVsbG8=": "hello", "aGVs\nbG8": "hello", "aG!VsbG8==": "hello", "": "", "a": "", "=": "", "aGVsbG8hISE": "hello!!!", "aGVsbG8hISEx": "hello!!!1",
	} {
		if got := lenientBase64(text); string(got) != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
