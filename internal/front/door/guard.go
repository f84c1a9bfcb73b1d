package door

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// Guard asks every request for what its door asks. A nil Guard, and the zero one, let everybody in.
type Guard struct {
	keys       atomic.Pointer[Keys]
	http, grpc Restrictions
}

// NewGuard returns a guard of the restricted groups; keys come by SetKeys.
func NewGuard(http, grpc Restrictions) *Guard { return &Guard{http: http, grpc: grpc} }

// SetKeys exchanges the keys; nil asks for none.
func (g *Guard) SetKeys(k *Keys) { g.keys.Store(k) }

// Challenge is the WWW-Authenticate header of an answer to a request without a good key.
const Challenge = `Bearer realm="vitrine"`

var (
	errNoKey    = fault.New(fault.Unauthenticated, "an API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY")
	errWrongKey = fault.New(fault.Unauthenticated, "the API key is not valid")
)

// Admit says whose key a request brings, "" where none is asked for. The headers are those of HTTP, or
// gRPC's metadata of the same names in lower case.
func (g *Guard) Admit(authorization, apiKey []string) (name string, err error) {
	if g == nil {
		return "", nil
	}
	keys := g.keys.Load()
	if keys == nil {
		return "", nil
	}
	secret := secretOf(authorization, apiKey)
	if secret == "" {
		return "", errNoKey
	}
	name, ok := keys.Name(secret)
	if !ok {
		return "", errWrongKey
	}
	return name, nil
}

// secretOf is the key in Authorization: Bearer, else in X-API-Key: a proxy in front may use the first
// for its own.
func secretOf(authorization, apiKey []string) string {
	for _, v := range authorization {
		scheme, rest, ok := strings.Cut(v, " ")
		if ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest)
		}
	}
	if len(apiKey) > 0 {
		return strings.TrimSpace(apiKey[0])
	}
	return ""
}

// AdmitHTTP is Admit for a request's headers.
func (g *Guard) AdmitHTTP(h http.Header) (name string, err error) {
	return g.Admit(h["Authorization"], h["X-Api-Key"])
}

// RestrictedHTTP is the error of a request that lacks its group's header, in Triton's words.
func (g *Guard) RestrictedHTTP(group Group, h http.Header) error {
	if g == nil {
		return nil
	}
	r, ok := g.http[group]
	if !ok || r.met(h.Values(r.key)) {
		return nil
	}
	return fault.New(fault.Forbidden, "This API is restricted, expecting header '%s'", r.key)
}

// metadataPrefix is before a restriction's key in gRPC's metadata.
const metadataPrefix = "triton-grpc-protocol-"

// RestrictedGRPC is the error of a call that lacks its group's metadata, in Triton's words and with its
// code.
func (g *Guard) RestrictedGRPC(group Group, md map[string][]string) error {
	if g == nil {
		return nil
	}
	r, ok := g.grpc[group]
	name := metadataPrefix + r.key
	if !ok || r.met(md[strings.ToLower(name)]) {
		return nil
	}
	return fault.New(fault.Unavailable, "This protocol is restricted, expecting header '%s'", name)
}

// Protect puts a handler that belongs to no front behind the keys.
func (g *Guard) Protect(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := g.AdmitHTTP(r.Header); err != nil {
			w.Header().Set("WWW-Authenticate", Challenge)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
