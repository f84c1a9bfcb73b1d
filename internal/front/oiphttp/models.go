package oiphttp

import (
	"encoding/json"
	"net/http"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip"
)

func must(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a value that the program itself built
	}
	return b
}

func (a *API) serverMetadata(x *front.Exchange, _ *http.Request, _ *params) error {
	return send(x, must(struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{oip.ServerName, oip.ServerVersion, oip.Extensions}))
}

func (a *API) live(x *front.Exchange, _ *http.Request, _ *params) error {
	x.Send(http.StatusOK, typePlain, nil)
	return nil
}

func (a *API) ready(x *front.Exchange, _ *http.Request, _ *params) error {
	code := http.StatusOK
	if a.front.Draining() || !a.server.Models.Ready() {
		code = http.StatusBadRequest
	}
	x.Send(code, typePlain, nil)
	return nil
}

func (a *API) modelReady(x *front.Exchange, _ *http.Request, p *params) error {
	m, err := a.server.Models.Get(p.model, p.version)
	if err != nil && fault.KindOf(err) == fault.Invalid {
		return plain(err)
	}
	if err != nil || !m.Ready() {
		return plain(fault.New(fault.Invalid, "Model version not ready"))
	}
	x.Send(http.StatusOK, typePlain, nil)
	return nil
}

// tensorMetadata is a tensor as metadata shows it.
type tensorMetadata struct {
	Name     string  `json:"name"`
	DataType string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func tensors(specs []oip.TensorSpec) []tensorMetadata {
	out := make([]tensorMetadata, len(specs))
	for i, s := range specs {
		out[i] = tensorMetadata{s.Name, s.DType.String(), s.Shape}
	}
	return out
}

func (a *API) modelMetadata(x *front.Exchange, _ *http.Request, p *params) error {
	m, err := a.server.Models.Get(p.model, p.version)
	if err != nil {
		return err
	}
	meta := m.Metadata()
	versions := []string{meta.Version}
	if p.version == "" {
		versions = a.server.Models.Versions(p.model)
	}
	return send(x, must(struct {
		Name     string           `json:"name"`
		Versions []string         `json:"versions"`
		Platform string           `json:"platform"`
		Inputs   []tensorMetadata `json:"inputs"`
		Outputs  []tensorMetadata `json:"outputs"`
	}{meta.Name, versions, meta.Platform, tensors(meta.Inputs), tensors(meta.Outputs)}))
}

func (a *API) config(x *front.Exchange, _ *http.Request, p *params) error {
	m, err := a.server.Models.Get(p.model, p.version)
	if err != nil {
		return err
	}
	return send(x, must(m.Config()))
}

// modelStatistics is one version's line of statistics.
type modelStatistics struct {
	Name           string           `json:"name"`
	Version        string           `json:"version"`
	LastInference  uint64           `json:"last_inference"`
	InferenceCount uint64           `json:"inference_count"`
	ExecutionCount uint64           `json:"execution_count"`
	Inference      oip.InferStats   `json:"inference_stats"`
	Response       struct{}         `json:"response_stats"`
	Batches        []oip.BatchStats `json:"batch_stats"`
	Memory         []struct{}       `json:"memory_usage"`
}

func (a *API) statistics(x *front.Exchange, _ *http.Request, p *params) error {
	models, err := a.server.Models.Models(p.model, p.version)
	if err != nil {
		return err
	}
	lines := []modelStatistics{}
	for _, m := range models {
		meta, s := m.Metadata(), m.Statistics()
		lines = append(lines, modelStatistics{Name: meta.Name, Version: meta.Version, LastInference: s.LastInference,
			InferenceCount: s.InferenceCount, ExecutionCount: s.ExecutionCount, Inference: s.Infer,
			Batches: append([]oip.BatchStats{}, s.Batches...), Memory: []struct{}{}})
	}
	return send(x, must(map[string]any{"model_stats": lines}))
}
