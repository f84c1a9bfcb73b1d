package onnxruntime

import (
	"encoding/json"
	"os"
	"testing"
)

// graphFile is one entry of testdata/graphs.json.
type graphFile struct {
	File         string
	Side, Images int
	Embeddings   [][]float32
}

func graphs(t *testing.T) []graphFile {
	t.Helper()
	data, err := os.ReadFile("testdata/graphs.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Files []graphFile }
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Files) < 5 {
		t.Fatalf("%d graphs", len(golden.Files))
	}
	return golden.Files
}
