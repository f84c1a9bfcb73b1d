package oiphttp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire"
)

// document is the body of a control request: an object, or anything else that then has no members.
type document map[string]json.RawMessage

// document reads a control request's body. An empty one is no document where that is allowed.
func (a *API) document(x *front.Exchange, r *http.Request, emptyAllowed bool) (document, error) {
	body, err := x.Body(r)
	if err != nil || len(body) == 0 && emptyAllowed {
		return nil, err
	}
	if err := wire.Valid(body); err != nil {
		return nil, err
	}
	return object(body), nil
}

func object(raw []byte) document {
	var d document
	if json.Unmarshal(raw, &d) != nil {
		return nil
	}
	return d
}

func wrong(what string) error {
	return fault.New(fault.Mistaken, "attempt to access JSON non-%s as %s", what, what)
}

func asString(raw json.RawMessage) (s string, err error) {
	if json.Unmarshal(raw, &s) != nil || bytes.HasPrefix(raw, []byte("null")) {
		return "", wrong("string")
	}
	return s, nil
}

func asBool(raw json.RawMessage) (b bool, err error) {
	if json.Unmarshal(raw, &b) != nil || bytes.HasPrefix(raw, []byte("null")) {
		return false, wrong("boolean")
	}
	return b, nil
}

func asUint(raw json.RawMessage) (uint64, error) {
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return 0, wrong("unsigned-integer")
	}
	return n, nil
}

// done is an empty answer.
func done(x *front.Exchange) error { return send(x, nil) }

func (a *API) index(x *front.Exchange, r *http.Request, _ *params) error {
	d, err := a.document(x, r, true)
	if err != nil {
		return err
	}
	ready := false
	if raw, ok := d["ready"]; ok {
		if ready, err = asBool(raw); err != nil {
			return err
		}
	}
	return send(x, must(a.server.Models.Index(ready)))
}

var errRepository = fault.New(fault.Unimplemented, "'repository_name' specification is not supported")

func (a *API) load(x *front.Exchange, r *http.Request, p *params) error {
	if p.repository != "" {
		return errRepository
	}
	d, err := a.document(x, r, true)
	if err != nil {
		return err
	}
	config, files := "", map[string][]byte{}
	for k, raw := range object(d["parameters"]) {
		value, err := asString(raw)
		switch {
		case k != "config" && !strings.HasPrefix(k, "file:"):
			return fault.New(fault.Mistaken, "unexpected error on creating Triton parameter")
		case err != nil:
			return err
		case k == "config":
			config = value
		default:
			if files[k], err = base64.StdEncoding.DecodeString(value); err != nil {
				return fault.Wrap(fault.Invalid, err, "'%s' is not base64", k)
			}
		}
	}
	if err := a.server.Models.Load(r.Context(), p.model, config, files); err != nil {
		return err
	}
	return done(x)
}

func (a *API) unload(x *front.Exchange, r *http.Request, p *params) error {
	if p.repository != "" {
		return errRepository
	}
	if _, err := a.document(x, r, true); err != nil { // unload_dependents: no model here has any
		return err
	}
	if err := a.server.Models.Unload(p.model); err != nil {
		return err
	}
	return done(x)
}

func (a *API) regionStatus(x *front.Exchange, _ *http.Request, p *params) error {
	all, err := a.server.Regions.Status(p.region)
	if err != nil {
		return err
	}
	return send(x, must(all))
}

func (a *API) registerRegion(x *front.Exchange, r *http.Request, p *params) error {
	if p.region == "" {
		return fault.New(fault.Invalid, "'region name' is necessary to register system shared memory region")
	}
	d, err := a.document(x, r, false)
	if err != nil {
		return err
	}
	raw, ok := d["key"]
	if !ok {
		return fault.New(fault.Invalid, "Shared memory register request has no 'key' field")
	}
	key, err := asString(raw)
	if err != nil {
		return err
	}
	var offset uint64
	if raw, ok := d["offset"]; ok {
		if offset, err = asUint(raw); err != nil {
			return err
		}
	}
	if raw, ok = d["byte_size"]; !ok {
		return fault.New(fault.Invalid, "Shared memory register request has no 'byte_size' field")
	}
	size, err := asUint(raw)
	if err != nil {
		return err
	}
	if err := a.server.Regions.Register(p.region, key, offset, size); err != nil {
		return err
	}
	return done(x)
}

func (a *API) unregisterRegion(x *front.Exchange, _ *http.Request, p *params) error {
	a.server.Regions.Unregister(p.region)
	return done(x)
}

func (a *API) cudaStatus(x *front.Exchange, _ *http.Request, p *params) error {
	all, err := a.server.Regions.CUDAStatus(p.region)
	if err != nil {
		return err
	}
	return send(x, must(all))
}

func (a *API) registerCUDA(x *front.Exchange, r *http.Request, p *params) error {
	if a.server.Regions.Card == nil {
		return oip.ErrCUDA
	}
	if p.region == "" {
		return fault.New(fault.Invalid, "'region name' is necessary to register cuda shared memory region")
	}
	d, err := a.document(x, r, true)
	if err != nil {
		return err
	}
	raw, ok := d["raw_handle"]
	if !ok {
		return fault.New(fault.Invalid, "Shared memory register request has no 'raw_handle' field")
	}
	b64, err := member(object(raw), "b64", asString)
	if err != nil {
		return err
	}
	size, err := member(d, "byte_size", asUint)
	if err != nil {
		return err
	}
	device, err := member(d, "device_id", asUint)
	if err != nil {
		return err
	}
	handle := lenientBase64(b64)
	if len(handle) != oip.HandleSize {
		return fault.New(fault.Invalid, "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")
	}
	if err := a.server.Regions.RegisterCUDA(p.region, handle, device, size); err != nil {
		return err
	}
	return done(x)
}

// member is a member that an object must have.
func member[T any](d document, name string, as func(json.RawMessage) (T, error)) (v T, err error) {
	raw, ok := d[name]
	if !ok {
		return v, fault.New(fault.Internal, "attempt to access non-existing object member '%s'", name)
	}
	return as(raw)
}

// lenientBase64 decodes as Triton does: what is not of the alphabet is passed over, line ends and padding included.
func lenientBase64(s string) []byte {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '+', r == '/':
			return r
		}
		return -1
	}, s)
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1] // six bits are no byte
	}
	b, _ := base64.RawStdEncoding.DecodeString(clean) // nothing else can be wrong
	return b
}

func (a *API) unregisterCUDA(x *front.Exchange, _ *http.Request, p *params) error {
	a.server.Regions.UnregisterCUDA(p.region)
	return done(x)
}

// trace answers and changes trace settings, the server's or a model's.
func (a *API) trace(x *front.Exchange, r *http.Request, p *params) error {
	if p.model != "" && len(a.server.Models.Versions(p.model)) == 0 {
		return fault.New(fault.Invalid, "Request for unknown model : %s", p.model)
	}
	if r.Method == http.MethodPost {
		d, err := a.document(x, r, false)
		if err != nil {
			return err
		}
		values, err := traceValues(d)
		if err != nil {
			return err
		}
		if err := a.server.Trace.Update(p.model, values); err != nil {
			return err
		}
	}
	return send(x, printTrace(a.server.Trace.Get(p.model)))
}

func traceValues(d document) (map[string][]string, error) {
	values := map[string][]string{}
	for k, raw := range d {
		switch {
		case string(raw) == "null":
			values[k] = nil
		case k == "trace_level":
			var list []string
			if json.Unmarshal(raw, &list) != nil {
				return nil, wrong("array")
			}
			values[k] = slices.Clone(list)
		case !slices.Contains(oip.TraceNames, k):
		default:
			s, err := asString(raw)
			if err != nil {
				return nil, err
			}
			values[k] = []string{s}
		}
	}
	return values, nil
}

func printTrace(settings map[string][]string) []byte {
	b := []byte{'{'}
	for i, name := range oip.TraceNames {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wire.AppendString(b, name), ':')
		if name == "trace_level" {
			b = append(b, must(settings[name])...)
			continue
		}
		b = wire.AppendString(b, strings.Join(settings[name], ","))
	}
	return append(b, '}')
}

// logging answers and changes log settings.
func (a *API) logging(x *front.Exchange, r *http.Request, _ *params) error {
	if r.Method == http.MethodPost {
		d, err := a.document(x, r, false)
		if err != nil {
			return err
		}
		values := map[string]any{}
		for k, raw := range d {
			if values[k], err = logValue(k, raw); err != nil {
				return err
			}
		}
		if err := a.server.Logging.Update(values); err != nil {
			return err
		}
	}
	return send(x, must(a.server.Logging.Get()))
}

func logValue(name string, raw json.RawMessage) (any, error) {
	switch name {
	case "log_info", "log_warning", "log_error":
		return asBool(raw)
	case "log_verbose_level":
		return asUint(raw)
	case "log_format":
		return asString(raw)
	}
	return nil, nil // log_file whatever it says, and what nobody knows
}
