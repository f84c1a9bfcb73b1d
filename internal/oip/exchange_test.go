package oip

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// made is an echo that knows what it was made from.
type made struct {
	*echo
	from string
}

func (m made) Identity() string { return m.from }

// script is a loader that answers what its next line says.
type script struct{ next func() ([]Model, error) }

func (s *script) Names() []string { return []string{"m", "other"} }
func (s *script) Load(context.Context, string, string, map[string][]byte) ([]Model, error) {
	return s.next()
}

// loadWith is a loader of "m" that is told the load's context.
type loadWith func(ctx context.Context) ([]Model, error)

func (l loadWith) Names() []string { return []string{"m"} }
func (l loadWith) Load(ctx context.Context, _, _ string, _ map[string][]byte) ([]Model, error) {
	return l(ctx)
}

func (e *echo) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// TestExchange takes a model through loads that succeed, fail and change nothing.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, again, two := made{newEcho("m", "1"), "a"}, made{newEcho("m", "1"), "a"}, made{newEcho("m", "2"), "b"}
		s := &script{}
		r := NewRegistry(s)
		serves := func(models ...Model) { s.next = func() ([]Model, error) { return models, nil } }
		index := func(what string, want ...IndexEntry) {
			t.Helper()
			if d := cmp.Diff(append(want, IndexEntry{Name: "other"}), r.Index(false)); d != "" {
				t.Errorf("%s: %s", what, d)
			}
		}
		serves(one)
		r.Loading("m", []string{"1"})
		index("loading", IndexEntry{"m", "1", "LOADING", ""})
		if r.Ready() {
			t.Error("ready with nothing but what is being loaded")
		}
		if err := r.Refresh(t.Context(), "m"); err != nil || !r.Ready() {
			t.Error(err)
		}
		serves(again, two)
		r.Loading("m", []string{"1", "2"})
		index("an exchange", IndexEntry{"m", "1", "READY", ""}, IndexEntry{"m", "2", "LOADING", ""})
		if !r.Ready() {
			t.Error("an exchange makes the server not ready")
		}
		if err := r.Refresh(t.Context(), "m"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if m, err := r.Get("m", "1"); err != nil || m != Model(one) || one.isClosed() || !again.isClosed() {
			t.Error("what did not change was exchanged")
		}
		s.next = func() ([]Model, error) {
			return nil, Failures{{"2", fault.New(fault.Internal, "it does not start")}, {"3", errors.New("nor does it")}}
		}
		err := r.Load(t.Context(), "m", "", nil)
		want := "load failed for model 'm': version 2 is at UNAVAILABLE state: Internal: it does not start;version 3 is at UNAVAILABLE state: Internal: nor does it;"
		if err == nil || err.Error() != want || fault.KindOf(err) != fault.Invalid || r.Ready() {
			t.Errorf("%v", err)
		}
		index("a failure", IndexEntry{"m", "1", "READY", ""}, IndexEntry{"m", "2", "READY", "Internal: it does not start"},
			IndexEntry{"m", "3", "UNAVAILABLE", "Internal: nor does it"})
		serves(two)
		if err := r.Refresh(t.Context(), "m"); err != nil || !r.Ready() {
			t.Error(err)
		}
		synctest.Wait()
		index("mended", IndexEntry{"m", "1", "UNAVAILABLE", "unloaded"}, IndexEntry{"m", "2", "READY", ""})
		if !one.isClosed() {
			t.Error("version 1 is not closed")
		}
		s.next = func() ([]Model, error) { return nil, errors.New("no configuration") }
		if err := r.Refresh(t.Context(), "m"); err == nil || !r.Ready() {
			t.Errorf("a configuration that cannot be read takes a served model away: %v", err)
		}
		index("no configuration", IndexEntry{"m", "1", "UNAVAILABLE", "unloaded"}, IndexEntry{"m", "2", "READY", "Internal: no configuration"})
		r.Forget("m")
		index("forgotten")
		if err := r.Refresh(t.Context(), "other"); err == nil || r.Ready() {
			t.Errorf("ready with a model that cannot be read: %v", err)
		}
		if err := r.Close(t.Context()); err != nil || !two.isClosed() {
			t.Error(err)
		}
	})
}

// TestLoadGoesOn where its client has left: others may wait for the same, and clients give up after a minute.
func TestLoadGoesOn(t *testing.T) {
	r := NewRegistry(loadWith(func(ctx context.Context) ([]Model, error) { return []Model{newEcho("m", "1")}, ctx.Err() }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Load(ctx, "m", "", nil); err != nil {
		t.Error(err)
	}
	if _, err := r.Get("m", "1"); err != nil {
		t.Error(err)
	}
}

// TestUnloadOfNothing leaves no trace: clients can name what they like.
func TestUnloadOfNothing(t *testing.T) {
	r := NewRegistry(Known{newEcho("m", "1")})
	if err := r.Unload("nothing"); err != nil {
		t.Error(err)
	}
	r.locks.Range(func(name, _ any) bool {
		t.Errorf("%v is kept", name)
		return true
	})
	if d := cmp.Diff([]IndexEntry{{Name: "m"}}, r.Index(false)); d != "" {
		t.Error(d)
	}
}

// TestCloseWaits for the last request.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEcho("m", "1")
		r := NewRegistry(nil)
		if err := r.Add(m); err != nil {
			t.Fatal(err)
		}
		_, done, err := r.Use("m", "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Close(ctx); !errors.Is(err, context.Canceled) || m.isClosed() {
			t.Errorf("%v", err)
		}
		done()
		if err := r.Close(t.Context()); err != nil || !m.isClosed() {
			t.Errorf("%v", err)
		}
	})
}

func TestControl(t *testing.T) {
	r := NewRegistry(Chain{Known{newEcho("a", "1")}, Known{newEcho("b", "1")}})
	if d := cmp.Diff([]IndexEntry{{Name: "a"}, {Name: "b"}}, r.Index(false)); d != "" {
		t.Error(d)
	}
	for _, name := range []string{"a", "b"} {
		if err := r.Load(t.Context(), name, "", nil); err != nil {
			t.Error(err)
		}
	}
	r.ForbidControl()
	want(t, r.Load(t.Context(), "a", "", nil), fault.Unavailable, "explicit model load / unload is not allowed")
	want(t, r.Unload("a"), fault.Unavailable, "explicit model load / unload is not allowed")
	if err := r.Refresh(t.Context(), "a"); err != nil {
		t.Errorf("the server itself may not load: %v", err)
	}
	if err := r.Add(newEcho("c", "x")); err == nil {
		t.Error("a version that is no number was added")
	}
	r.failed("c", Failures{{"1", errors.New("x")}})
	if r.Ready() {
		t.Error("ready with a model that failed")
	}
	r.Lenient()
	if !r.Ready() {
		t.Error("--strict-readiness=false is not ready")
	}
}
