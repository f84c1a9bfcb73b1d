package cpufeat

import (
	"slices"
	"strings"
	"testing"
)

func TestSelectLevel(t *testing.T) {
	tests := []struct {
		forced  string
		machine Level
		want    Level
		err     string
	}{
		{"", AVX512, AVX512, ""},
		{"generic", AVX512BF16, Generic, ""},
		{"avx2", AVX2, AVX2, ""},
		{"avx512_bf16", AVX512BF16, AVX512BF16, ""},
		{"avx512", AVX2, AVX2, "VITRINE_CPU=avx512: this machine offers no more than avx2"},
		{"sse9", AVX2, AVX2, `VITRINE_CPU: unknown CPU level "sse9": want one of generic, avx2, avx512, avx512_bf16`},
	}
	for _, tt := range tests {
		got, err := selectLevel(tt.forced, tt.machine)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != tt.want || message != tt.err {
			t.Errorf("selectLevel(%q, %s) = %s, %q, want %s, %q", tt.forced, tt.machine, got, message, tt.want, tt.err)
		}
	}
}

func TestSelectedReadsEnvironment(t *testing.T) {
	t.Setenv(Env, "generic")
	if got, err := Selected(); got != Generic || err != nil {
		t.Errorf("Selected() = %s, %v", got, err)
	}
	t.Setenv(Env, "nonsense")
	if _, err := Selected(); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v does not name the value", err)
	}
}

func TestOpChoosesHighestAllowed(t *testing.T) {
	t.Setenv(Env, "generic")
	o := New("test/forced", "portable")
	o.Register(AVX2, "vector")
	if got := o.Best(); got.Impl != "portable" {
		t.Errorf("with the level forced to generic: %v", got)
	}
	t.Setenv(Env, "")
	o = New("test/free", "portable")
	o.Register(AVX512, "wide")
	o.Register(AVX2, "vector")
	want := map[Level]string{Generic: "portable", AVX2: "vector", AVX512: "wide", AVX512BF16: "wide"}[Machine()]
	if got := o.Best(); got.Impl != want {
		t.Errorf("on %s: %q, want %q", Machine(), got.Impl, want)
	}
}

func TestRegisterTwicePanics(t *testing.T) {
	o := New("test/twice", 0)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	o.Register(Generic, 1)
}

func TestUntestedNamesWhatForTestMissed(t *testing.T) {
	o := New("test/untested", 0)
	if !slices.Contains(Untested(), "test/untested/generic") {
		t.Error("a fresh variant counts as tested")
	}
	var reached []Level
	o.ForTest(func(v Variant[int]) { reached = append(reached, v.Level) })
	if slices.Contains(Untested(), "test/untested/generic") || !slices.Equal(reached, []Level{Generic}) {
		t.Errorf("after ForTest: reached %v, untested %v", reached, Untested())
	}
	o.Register(levels-1, 2)
	if Machine() < levels-1 {
		o.ForTest(func(v Variant[int]) {
			if v.Impl == 2 {
				t.Error("ForTest ran a variant that the machine lacks")
			}
		})
	}
}

func TestListOrdersByOperator(t *testing.T) {
	New("test/b", 0)
	New("test/a", 0)
	infos := List()
	if !slices.IsSortedFunc(infos, func(a, b Info) int { return strings.Compare(a.Op, b.Op) }) {
		t.Errorf("not sorted: %v", infos)
	}
}
