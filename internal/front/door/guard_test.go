package door

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vitrine-project/vitrine/internal/fault"
)

func guarded(t *testing.T) *Guard {
	t.Helper()
	keys, err := ParseKeys([]byte("alice:alice-secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := Restrictions{}
	for _, text := range []string{"inference,metadata:X-Admin=one", "logging:l=two"} {
		if err := r.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	g := NewGuard(r, r)
	g.SetKeys(keys)
	return g
}

func TestAdmit(t *testing.T) {
	g := guarded(t)
	for _, c := range []struct {
		authorization, apiKey []string
		name                  string
		err                   error
	}{
		{nil, nil, "", errNoKey},
		{[]string{"Bearer alice-secret"}, nil, "alice", nil},
		{[]string{"bearer  alice-secret "}, nil, "alice", nil},
		{nil, []string{"alice-secret"}, "alice", nil},
		{[]string{"Basic YTpi"}, []string{"alice-secret"}, "alice", nil},
		{[]string{"Basic alice-secret"}, nil, "", errNoKey},
		{[]string{"alice-secret"}, nil, "", errNoKey},
		{[]string{"Bearer "}, nil, "", errNoKey},
		{[]string{"Bearer other-secret"}, nil, "", errWrongKey},
		{[]string{"Bearer other-secret"}, []string{"alice-secret"}, "", errWrongKey},
		{nil, []string{"", "alice-secret"}, "", errNoKey},
	} {
		if name, err := g.Admit(c.authorization, c.apiKey); name != c.name || !errors.Is(err, c.err) {
			t.Errorf("%q %q: %q %v, want %q %v", c.authorization, c.apiKey, name, err, c.name, c.err)
		}
	}
	for what, open := range map[string]*Guard{"nil": nil, "zero": {}} {
		if _, err := open.Admit(nil, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := open.RestrictedHTTP(Inference, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRestricted(t *testing.T) {
	g := guarded(t)
	for _, c := range []struct {
		group Group
		value []string
		ok    bool
	}{
		{Inference, nil, false}, {Metadata, []string{"two"}, false}, {Inference, []string{"one"}, true},
		{Inference, []string{"one", "one"}, false}, {Health, nil, true}, {Logging, []string{"one"}, false},
	} {
		h := http.Header{}
		for _, v := range c.value {
			h.Add("x-admin", v)
		}
		err := g.RestrictedHTTP(c.group, h)
		if (err == nil) != c.ok || err != nil && fault.KindOf(err) != fault.Forbidden {
			t.Errorf("%s %q over HTTP: %v", c.group, c.value, err)
		}
		err = g.RestrictedGRPC(c.group, map[string][]string{"triton-grpc-protocol-x-admin": c.value})
		if (err == nil) != c.ok || err != nil && fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s %q over gRPC: %v", c.group, c.value, err)
		}
	}
}

func TestProtect(t *testing.T) {
	h := guarded(t).Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for key, want := range map[string]int{"": 401, "wrong-secret": 401, "alice-secret": http.StatusTeapot} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (want == 401) != (w.Header().Get("WWW-Authenticate") == Challenge) {
			t.Errorf("%q: %d %v", key, w.Code, w.Header())
		}
	}
}

func TestRestrictions(t *testing.T) {
	for _, text := range []string{"", "health", "health:a", "health:a=", "health:=b", ":a=b", "none:a=b", "health,health:a=b", "health,:a=b", "health:a b=c"} {
		if (Restrictions{}).Add(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
	r := Restrictions{}
	for _, text := range []string{"health,shared-memory:a=b=c", "trace:x=1,2"} {
		if err := r.Add(text); err != nil {
			t.Error(err)
		}
	}
	if r[SharedMemory] != (restriction{"a", "b=c"}) || r[Trace] != (restriction{"x", "1,2"}) || len(r) != 3 {
		t.Errorf("%v", r)
	}
	if r.Add("trace:y=2") == nil {
		t.Error("a group is restricted twice")
	}
}

func TestSplitList(t *testing.T) {
	for text, want := range map[string]string{
		"health,trace:a=b":                       "health,trace:a=b",
		"health:a=b,trace:c=d":                   "health:a=b trace:c=d",
		"health,trace:a=b,logging,inference:c=d": "health,trace:a=b logging,inference:c=d",
		"health:a=b trace,logging:c=d":           "health:a=b trace,logging:c=d",
		"health:a=b,c":                           "health:a=b,c",
		"health:a=b,c:d=e":                       "health:a=b,c:d=e",
	} {
		if got := SplitList(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
