package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/engine/fleet"
	"github.com/vitrine-project/vitrine/internal/model"
)

// deviceNames asks a server which devices its model is on.
func (r *running) deviceNames() (names []string) {
	r.t.Helper()
	var h struct {
		Devices []struct {
			Name string `json:"name"`
			Up   bool   `json:"up"`
		} `json:"devices"`
	}
	status, _, body := do(r.t, "GET", r.url+"/readyz", nil)
	if err := json.Unmarshal(body, &h); err != nil || status != http.StatusOK {
		r.t.Fatalf("%d %s, %v", status, body, err)
	}
	for _, d := range h.Devices {
		if !d.Up {
			r.t.Errorf("%s is not up", d.Name)
		}
		names = append(names, d.Name)
	}
	return names
}

// TestServeOnCards serves on two cards that are pretended, with a model of --model and one of a repository.
func TestServeOnCards(t *testing.T) {
	r := start(t, "--engine", "null", "--gpus", "3,1", "--instances", "2")
	if d := cmp.Diff([]string{"gpu:3", "gpu:1"}, r.deviceNames()); d != "" {
		t.Error(d)
	}
	r.says("GET", "/v2/models/openclip_vit_b32/config", "", 200, `"kind":"KIND_GPU","count":2,"gpus":[3,1]`)
	r.says("GET", "/model-info", "", 200, `"instances":4`)
	r.signal()
	r.exit(exitOK)

	root, name := exported(t, "tiny-quickgelu")
	path := filepath.Join(root, name, "config.pbtxt")
	put := func(group string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(text), "instance_group")
		if err := os.WriteFile(path, []byte(string(text[:at])+group), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("instance_group { count: 3 kind: KIND_GPU gpus: 1 }\n")
	r = start(t, "--engine", "null", "--gpus", "0,1", "--model-repository", root)
	if d := cmp.Diff([]string{"gpu:1"}, r.deviceNames()); d != "" {
		t.Error(d)
	}
	r.says("GET", "/model-info", "", 200, `"instances":3`)
	r.signal()
	r.exit(exitOK)

	put("instance_group { gpus: [ 0, 7 ] }\n")
	bad := launch(t, "--engine", "null", "--gpus", "0,1", "--model-repository", root)
	bad.exit(exitFailure)
	if log := strings.Join(bad.rest(), "\n"); !strings.Contains(log, "specifies invalid or unsupported gpu id 7. GPUs that can be used are: 0, 1") {
		t.Error(log)
	}
}

func TestCardsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ gpus, engine, want string }{
		{"0", "cpu", "--engine cpu cannot compute on card 0"},
		{"0,0", "null", "want different numbers of cards"},
		{"-1", "null", "want different numbers of cards"},
		{"one", "null", "want different numbers of cards"},
		{"", "null", ""}, {"all", "cpu", ""}, {" 2, 5", "null", ""},
	} {
		d := deviceFlags{gpus: c.gpus}
		_, err := d.cards(&engineFlags{name: c.engine})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("--gpus %s of %s: %v, want %s", c.gpus, c.engine, err, c.want)
		}
	}
}

// TestMadeAgain makes an engine from weights that are opened again, and from no others.
func TestMadeAgain(t *testing.T) {
	o := plantOptions{model: modelFlags{reference: filepath.Join(models, "tiny-quickgelu"), given: true},
		engine: engineFlags{name: "cpu", precision: "fp32", threads: 1, maxBatch: 2}, log: slog.New(slog.DiscardHandler)}
	m, err := o.openModel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hash := m.WeightsHash
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	device := fleet.Device{GPU: fleet.CPU, Instances: 2}
	e, err := o.remake(t.Context(), backends[o.engine.name], device, hash)
	if err != nil {
		t.Fatal(err)
	}
	if e.Spec().InFlight != 2 {
		t.Errorf("%+v", e.Spec())
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	o.model.reference = model.SyntheticReference + ":ViT-B-32"
	o.engine.name = "null"
	if _, err := o.remake(t.Context(), backends[o.engine.name], device, hash); err == nil || !strings.Contains(err.Error(), "the weights have changed") {
		t.Errorf("%v", err)
	}
}
