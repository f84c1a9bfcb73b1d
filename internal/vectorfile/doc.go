// Package vectorfile writes embeddings to files that other programs read: NumPy's .npy with an index
// beside it, JSON Lines and Parquet.
//
// A file grows beside its final name and gets that name when it is complete. Its journal says how many
// rows are safely on disk, so that an interrupted run goes on where it stopped; what the rows are (the
// vector space, the inputs) is in the journal too, so that no run goes on with something else.
//
//	out.npy                 the vectors, float32 [rows, dim], NaN where the input failed
//	out.npy.index.jsonl     first line: what the vectors are; then one line a row: row, path, error
//	out.jsonl               one line a row: row, path, space, embedding (null where it failed), error
//	out.parquet             columns path, embedding (list of float), error; the space in the file's metadata
//	out.X.journal           while a run is not complete: header, then a line at each checkpoint
//	out.X.partial, out.X.index.partial   the rows so far
package vectorfile

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Info says what the vectors of a file are. It is written into the file.
type Info struct {
	Space      string `json:"space"` // vectors are comparable if it is equal
	Model      string `json:"model,omitempty"`
	ModelName  string `json:"model_name,omitempty"`
	Pretrained string `json:"pretrained,omitempty"`
	Synthetic  bool   `json:"synthetic,omitempty"`
	Precision  string `json:"precision,omitempty"`
	Plan       string `json:"plan,omitempty"`
	Dim        int    `json:"dim"`
	Normalized bool   `json:"normalized"`
}

// Row is one input's embedding, or why there is none.
type Row struct {
	Path   string
	Vector []float32 // nil where the input failed
	Err    string    // "" where it did not
}

// Format is a file format.
type Format string

// The formats that are written.
const (
	NPY     Format = "npy"
	JSONL   Format = "jsonl"
	Parquet Format = "parquet"
)

// FormatOf tells a file's format by its name.
func FormatOf(path string) (Format, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".npy":
		return NPY, nil
	case ".jsonl":
		return JSONL, nil
	case ".parquet":
		return Parquet, nil
	default:
		return "", fmt.Errorf("%s: the name must end in .npy, .jsonl or .parquet", path)
	}
}
