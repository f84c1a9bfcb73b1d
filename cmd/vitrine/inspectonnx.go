package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vitrine-project/vitrine/internal/cli"
	"github.com/vitrine-project/vitrine/internal/model/onnx"
)

// onnxInspection is what `model inspect FILE.onnx` prints, and its JSON.
type onnxInspection struct {
	Path        string            `json:"path"`
	Bytes       int64             `json:"bytes"`
	External    []string          `json:"external_data,omitempty"` // files beside it
	Missing     []string          `json:"missing,omitempty"`       // those of them that are not there
	IRVersion   int64             `json:"ir_version"`
	Opsets      map[string]int64  `json:"opsets"` // by domain
	Producer    string            `json:"producer"`
	Graph       string            `json:"graph"`
	Nodes       int               `json:"nodes"`
	Operators   []onnx.Operator   `json:"operators"`
	Inputs      []string          `json:"inputs"`
	Outputs     []string          `json:"outputs"`
	Tensors     int               `json:"tensors"`
	Parameters  int64             `json:"parameters"` // elements of all tensors
	WeightBytes int64             `json:"weight_bytes"`
	ByType      map[string]int64  `json:"weight_bytes_by_type"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

func inspectONNX(out io.Writer, path string, asJSON bool) error {
	info, err := onnx.Stat(path)
	if err != nil {
		return err
	}
	r := onnxInspection{
		Path: path, Bytes: info.Bytes, External: info.External, IRVersion: info.IRVersion, Opsets: map[string]int64{},
		Producer: info.Producer, Graph: info.Graph, Nodes: info.Nodes, Operators: info.Operators, Inputs: texts(info.Inputs), Outputs: texts(info.Outputs),
		Tensors: info.Tensors, Parameters: info.Elements, WeightBytes: info.WeightBytes, ByType: map[string]int64{}, Metadata: info.Metadata,
	}
	for domain, v := range info.Opsets {
		if domain == "" {
			domain = "ai.onnx"
		}
		r.Opsets[domain] = v
	}
	for d, n := range info.ByType {
		r.ByType[d.String()] = n
	}
	for _, name := range info.External {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), name)); errors.Is(err, fs.ErrNotExist) {
			r.Missing = append(r.Missing, name)
		}
	}
	if asJSON {
		return writeJSON(out, r)
	}
	return r.table(out)
}

func texts(values []onnx.Value) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = v.String()
	}
	return list
}

func (r onnxInspection) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("file", "%s, %s", r.Path, cli.FormatBytes(r.Bytes))
	for _, name := range r.External {
		note := ""
		if slices.Contains(r.Missing, name) {
			note = " (MISSING)"
		}
		row("weights in", "%s%s", filepath.Join(filepath.Dir(r.Path), name), note)
	}
	row("format", "ONNX, IR version %d, written by %s", r.IRVersion, r.Producer)
	for _, domain := range slices.Sorted(maps.Keys(r.Opsets)) {
		row("operator set", "%s %d", domain, r.Opsets[domain])
	}
	row("graph", "%s, %d nodes", r.Graph, r.Nodes)
	for _, v := range r.Inputs {
		row("input", "%s", v)
	}
	for _, v := range r.Outputs {
		row("output", "%s", v)
	}
	var types []string
	for _, t := range slices.Sorted(maps.Keys(r.ByType)) {
		types = append(types, fmt.Sprintf("%s %s", t, cli.FormatBytes(r.ByType[t])))
	}
	row("parameters", "%.1f million in %d tensors: %s", float64(r.Parameters)/1e6, r.Tensors, strings.Join(types, ", "))
	for _, k := range sortedKeys(r.Metadata) {
		row(k, "%s", r.Metadata[k])
	}
	row("", "")
	for _, o := range r.Operators {
		row(o.Name, "%d", o.Count)
	}
	return w.Flush()
}
