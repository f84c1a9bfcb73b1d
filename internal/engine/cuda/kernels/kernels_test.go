package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type manifest struct {
	Compiler string
	Images   []struct{ Target, Unit, Source, Code, Flags string }
}

func readManifest(t *testing.T) (m manifest) {
	t.Helper()
	b, err := images.ReadFile("bin/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestManifest finds machine code that is older than its source, or not what was compiled.
func TestManifest(t *testing.T) {
	m := readManifest(t)
	if m.Compiler == "" || len(m.Images) == 0 {
		t.Fatal("an empty manifest")
	}
	for _, i := range m.Images {
		h := sha256.New()
		for _, name := range sources(t, i.Unit+".cu") {
			b := read(t, name)
			h.Write([]byte(name + "\x00"))
			h.Write(b)
			h.Write([]byte{0})
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != i.Source {
			t.Errorf("%s/%s was compiled from another source: run `make kernels`", i.Target, i.Unit)
		}
		code, err := Image(Target(i.Target), i.Unit)
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(code); hex.EncodeToString(sum[:]) != i.Code {
			t.Errorf("%s/%s is not the code that the manifest names", i.Target, i.Unit)
		}
	}
}

var include = regexp.MustCompile(`#include "([^"]+)"`)

// sources are a unit's source, then every header that it includes, directly or not, sorted.
func sources(t *testing.T, unit string) []string {
	t.Helper()
	var headers []string
	for todo := []string{unit}; len(todo) > 0; todo = todo[1:] {
		for _, m := range include.FindAllStringSubmatch(string(read(t, todo[0])), -1) {
			if !slices.Contains(headers, m[1]) {
				headers, todo = append(headers, m[1]), append(todo, m[1])
			}
		}
	}
	slices.Sort(headers)
	return append([]string{unit}, headers...)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryTargetIsComplete looks for units that some target lacks.
func TestEveryTargetIsComplete(t *testing.T) {
	have := map[string]bool{}
	for _, i := range readManifest(t).Images {
		have[i.Target+"/"+i.Unit] = true
	}
	sources, err := filepath.Glob("*.cu")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []Target{SM80, SM86, SM89, SM90a, Compute80, Compute90} {
		for _, s := range sources {
			unit := s[:len(s)-len(".cu")]
			hopper := strings.HasPrefix(unit, "gemm_sm90_")
			if want := !hopper || target == SM90a; want != have[string(target)+"/"+unit] {
				t.Errorf("%s/%s: compiled %v, want %v", target, unit, !want, want)
			}
		}
	}
}

func TestTargetFor(t *testing.T) {
	for capability, want := range map[int]Target{80: SM80, 86: SM86, 87: SM80, 89: SM89, 90: SM90a, 100: Compute90, 120: Compute90} {
		if got, err := TargetFor(capability); got != want || err != nil {
			t.Errorf("%d: %q, %v, want %q", capability, got, err, want)
		}
	}
	for _, old := range []int{0, 70, 75} {
		if got, err := TargetFor(old); err == nil {
			t.Errorf("%d: %q, want a refusal", old, got)
		}
	}
}

func TestImageUnknown(t *testing.T) {
	if _, err := Image(SM80, "nothing"); err == nil {
		t.Error("want an error")
	}
}
