package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestServeOIP posts a bare photograph: the answer has the direction of /embed's, unnormalised.
func TestServeOIP(t *testing.T) {
	r := start(t, "--model", filepath.Join(models, "tiny-quickgelu"), "--precision", "fp32", "--model-control-mode", "explicit")
	status, _, body := do(t, "POST", r.url+"/v2/repository/index", nil)
	var index []struct{ Name, State string }
	if err := json.Unmarshal(body, &index); err != nil || status != http.StatusOK || len(index) != 3 {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	file := photo(t, "chelsea.png")
	_, _, body = do(t, "POST", r.url+"/embed", bytes.NewReader(file))
	var want embeddings
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatal(err)
	}
	name := ""
	for _, m := range index {
		if strings.HasSuffix(m.Name, "_jpeg") {
			name = m.Name
		}
	}
	request, err := http.NewRequest("POST", r.url+"/v2/models/"+name+"/infer", bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Inference-Header-Content-Length", "0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var all bytes.Buffer
	if _, err := all.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, %v", response.StatusCode, all.String(), err)
	}
	header, err := strconv.Atoi(response.Header.Get("Inference-Header-Content-Length"))
	if err != nil {
		t.Fatal(err)
	}
	var got []float32
	for b := all.Bytes()[header:]; len(b) > 0; b = b[4:] {
		got = append(got, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	reference := want.Embeddings[0]
	if len(got) != len(reference) || !(cosine(got, reference) > 0.999999) {
		t.Errorf("%d floats, cosine %v", len(got), cosine(got, reference))
	}
	for _, step := range []struct {
		path string
		code int
	}{{"/v2/repository/models/" + name + "/unload", 200}, {"/v2/repository/models/" + name + "/load", 200}} {
		if status, _, body := do(t, "POST", r.url+step.path, nil); status != step.code {
			t.Errorf("%s: %d %s", step.path, status, body)
		}
	}
	if status, _, _ := do(t, "GET", r.url+"/v2/models/"+name+"/ready", nil); status != http.StatusOK {
		t.Error("not ready after it was loaded again")
	}
	r.signal()
	r.exit(exitOK)
}
