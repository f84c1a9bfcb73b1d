package oip

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/vitrine-project/vitrine/internal/model/repository"
)

// Declared is what a model of a repository says of one of its versions: metadata with the tensors as
// they are declared, and the configuration as clients see it.
func Declared(m *repository.Model, version int64) (Metadata, *Config, error) {
	c := m.Config
	meta := Metadata{Name: c.Name, Version: strconv.FormatInt(version, 10), Platform: c.Platform}
	if meta.Platform == "" {
		meta.Platform = c.Backend
	}
	for _, in := range c.Input {
		meta.Inputs = append(meta.Inputs, TensorSpec{Name: in.Name, DType: in.DataType.DType(), Shape: batched(c, in.Dims), Optional: in.Optional})
	}
	for _, out := range c.Output {
		labels, err := m.Labels(out.Name)
		if err != nil {
			return meta, nil, err
		}
		meta.Outputs = append(meta.Outputs, TensorSpec{Name: out.Name, DType: out.DataType.DType(), Shape: batched(c, out.Dims), Labels: labels})
	}
	shown, err := shownConfig(c)
	return meta, shown, err
}

// shownConfig goes by way of Triton's JSON, which is that of both.
func shownConfig(c *repository.Config) (*Config, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("configuration of model '%s': %w", c.Name, err)
	}
	shown := &Config{}
	if err := json.Unmarshal(text, shown); err != nil {
		return nil, fmt.Errorf("configuration of model '%s': %w", c.Name, err)
	}
	return shown, nil
}

func batched(c *repository.Config, dims []int64) []int64 {
	if c.MaxBatchSize > 0 {
		return append([]int64{-1}, dims...)
	}
	return dims
}
