package disk

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/model/repository"
)

// TestInstancesOnCards orders plants on the cards that instance groups name.
func TestInstancesOnCards(t *testing.T) {
	for _, c := range []struct {
		config string
		gpus   []int
		want   []repository.Place
		error  string
	}{
		{"", nil, []repository.Place{{GPU: repository.CPU, Instances: 1}}, ""},
		{"", []int{0, 1}, []repository.Place{{GPU: 0, Instances: 1}, {GPU: 1, Instances: 1}}, ""},
		{"instance_group { count: 2 kind: KIND_GPU gpus: 1 }", []int{0, 1}, []repository.Place{{GPU: 1, Instances: 2}}, ""},
		{"instance_group { count: 2 kind: KIND_CPU }", []int{0, 1}, []repository.Place{{GPU: repository.CPU, Instances: 2}}, ""},
		{"instance_group { kind: KIND_GPU }", nil, nil, "instance_group.kind: want KIND_AUTO or KIND_CPU, or KIND_GPU where the server computes on GPUs"},
		{"instance_group { gpus: 7 }", []int{0, 1}, nil, "specifies invalid or unsupported gpu id 7"},
		{"instance_group [ { kind: KIND_CPU }, { gpus: 0 } ]", []int{0, 1}, nil, "are on GPUs or on the processor, not on both"},
		{"dynamic_batching { preserve_ordering: true }", []int{0, 1}, nil, "with 2 instances answers leave as they are computed"},
	} {
		b := newBench(t)
		b.put("m/config.pbtxt", imageConfig+c.config)
		b.version("m", "1", false)
		var got []repository.Place
		r, err := Open(Options{Dirs: []string{b.root}, GPUs: c.gpus, Build: b.works.build})
		if err != nil {
			t.Fatal(err)
		}
		made, err := r.Load(t.Context(), "m", "", nil)
		if c.error != "" {
			if err == nil || !strings.Contains(err.Error(), c.error) {
				t.Errorf("%s on %v: %v, want %s", c.config, c.gpus, err, c.error)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s on %v: %v", c.config, c.gpus, err)
			continue
		}
		got = b.works.built[0].order.Places
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s on %v: %s", c.config, c.gpus, d)
		}
		if kind := made[0].Config().InstanceGroup[0].Kind; (kind == "KIND_CPU") != (got[0].GPU == repository.CPU) {
			t.Errorf("%s on %v: clients are told %s", c.config, c.gpus, kind)
		}
		if err := made[0].(*imageModel).Close(); err != nil {
			t.Error(err)
		}
	}
}
