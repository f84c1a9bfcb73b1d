package onnxruntime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine"
)

func TestPluginsAreFound(t *testing.T) {
	env, beside := t.TempDir(), t.TempDir()
	t.Setenv("VIRTUAL_ENV", env)
	var want []string
	for _, packages := range []string{beside, filepath.Join(env, "lib", "python3.12", "site-packages")} {
		file := filepath.Join(packages, pluginFiles[OpenVINO])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		want = append(want, file)
	}
	library := filepath.Join(beside, "onnxruntime", "capi", "libonnxruntime.so.1.32.0")
	if found := SearchPlugins(OpenVINO, library); len(found) < 2 || !slices.Equal(found[:2], want) {
		t.Errorf("found %q, want %q first", found, want)
	}
	if found := SearchPlugins(CUDA, library); found != nil {
		t.Errorf("of CUDA: %q", found)
	}
}

// TestPluginSettings: a plug-in refuses by name what load_config has too.
func TestPluginSettings(t *testing.T) {
	o := resolved(t, Options{Provider: OpenVINO, Plugin: "/p.so", Precision: engine.BF16, Threads: 3})
	got := o.settings(clip, "1.32.0", nil)
	if len(got) != 1 {
		t.Errorf("%v", got)
	}
	var config map[string]map[string]string
	if err := json.Unmarshal([]byte(got["load_config"]), &config); err != nil {
		t.Fatal(err)
	}
	if c := config["CPU"]; c["INFERENCE_PRECISION_HINT"] != "bf16" || c["INFERENCE_NUM_THREADS"] != "3" {
		t.Errorf("%v", config)
	}
}

func TestPluginsAreRefused(t *testing.T) {
	library, m := testLibrary(t), mustOpen(t, models+"tiny-gelu")
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Provider: CUDA, Plugin: "/nowhere.so"}, "a provider's own library is for openvino, not cuda"},
		{Options{Provider: OpenVINO, Plugin: "/nowhere.so"}, "/nowhere.so"},
	} {
		c.o.Library, c.o.Cache, c.o.Logger = library, t.TempDir(), quiet()
		if _, err := New(m, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.o.Provider, err)
		}
	}
}

// TestOffers: every library has the processor's provider, and what it offers Check does not refuse.
func TestOffers(t *testing.T) {
	api, err := Load(testLibrary(t), CPU)
	if err != nil {
		t.Fatal(err)
	}
	all := Offers(api)
	if len(all) == 0 || all[0] != "cpu" {
		t.Errorf("%q", all)
	}
	for _, p := range Providers() {
		offered := slices.ContainsFunc(all, func(s string) bool { return strings.TrimSuffix(s, " (plug-in)") == string(p) })
		if err := Check(api, p); (err == nil) != offered || err != nil && !strings.Contains(err.Error(), "pip install "+fullNames[p].pack) {
			t.Errorf("%s: offered %v, %v", p, offered, err)
		}
	}
}
