package repository

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlaces(t *testing.T) {
	two := []int{0, 1}
	for _, c := range []struct {
		groups string
		gpus   []int
		want   []Place
	}{
		{"", nil, []Place{{CPU, 1}}},
		{"", two, []Place{{0, 1}, {1, 1}}},
		{"instance_group { count: 3 }", nil, []Place{{CPU, 3}}},
		{"instance_group { count: 3 }", two, []Place{{0, 3}, {1, 3}}},
		{"instance_group { count: 2 kind: KIND_CPU }", two, []Place{{CPU, 2}}},
		{"instance_group { count: 2 kind: KIND_GPU }", two, []Place{{0, 2}, {1, 2}}},
		{"instance_group { count: 2 kind: KIND_GPU gpus: 1 }", two, []Place{{1, 2}}},
		{"instance_group { count: 2 gpus: [ 1, 0 ] }", two, []Place{{1, 2}, {0, 2}}},
		{"instance_group [ { count: 1 gpus: 0 }, { count: 2 gpus: [ 0, 1 ] } ]", two, []Place{{0, 3}, {1, 2}}}, // Triton's documentation: 3 on GPU 0
		{"instance_group [ { count: 1 kind: KIND_CPU }, { count: 2 kind: KIND_CPU } ]", nil, []Place{{CPU, 3}}},
		{"instance_group [ { count: 1 kind: KIND_GPU gpus: 0 }, { count: 2 kind: KIND_CPU } ]", two, []Place{{0, 1}, {CPU, 2}}},
	} {
		m := placed(t, c.groups)
		if err := m.Place(c.gpus); err != nil {
			t.Errorf("%s: %v", c.groups, err)
		}
		if d := cmp.Diff(c.want, m.Places()); d != "" {
			t.Errorf("%s on %v: %s", c.groups, c.gpus, d)
		}
	}
}

func placed(t *testing.T, groups string) *Config {
	t.Helper()
	c, err := Parse([]byte(`backend: "b" ` + groups))
	if err != nil {
		t.Fatal(err)
	}
	c.complete("m")
	return c
}

func TestPlaceRefuses(t *testing.T) {
	for _, c := range []struct {
		groups string
		gpus   []int
		want   string
	}{
		{"instance_group { kind: KIND_GPU }", nil, "instance group m_0 of model m has kind KIND_GPU but no GPUs are available"},
		{"instance_group { gpus: 0 }", nil, "has kind KIND_GPU but no GPUs are available"},
		{"instance_group { gpus: [ 0, 7 ] }", []int{0, 1}, "specifies invalid or unsupported gpu id 7. GPUs that can be used are: 0, 1"},
	} {
		if err := placed(t, c.groups).Place(c.gpus); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s on %v: %v, want %s", c.groups, c.gpus, err, c.want)
		}
	}
}
