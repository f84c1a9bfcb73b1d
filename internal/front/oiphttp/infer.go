package oiphttp

import (
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire"
)

// headerLength is the header that splits a body into JSON and binary tensors.
const headerLength = "Inference-Header-Content-Length"

// infer answers POST /v2/models/M[/versions/V]/infer.
func (a *API) infer(x *front.Exchange, r *http.Request, p *params) error {
	x.Model = p.model
	if _, err := a.server.Models.Get(p.model, p.version); err != nil {
		return plain(err)
	}
	body, err := a.body(x, r)
	if err != nil {
		return plain(err)
	}
	header, err := jsonLength(r.Header, len(body))
	if err != nil {
		return plain(err)
	}
	w := a.requests.Get().(*wire.Request)
	defer func() {
		w.Reset() // it refers to the body, which is about to be used again
		a.requests.Put(w)
	}()
	request := &oip.Request{Model: p.model, Version: p.version}
	if header == 0 {
		request.Raw = true
		request.Inputs = []oip.Input{{Name: "raw_input", Data: body}}
		w.Reset()
		w.Params.BinaryOutput = true
	} else if err := w.Parse(body, header, p.model); err != nil {
		return err
	} else {
		fill(request, w)
	}
	return a.run(x, r, request, w)
}

func (a *API) run(x *front.Exchange, r *http.Request, request *oip.Request, w *wire.Request) error {
	call, err := a.server.Begin(request)
	if err != nil {
		return err
	}
	if s := request.Inputs; len(s) > 0 && len(s[0].Shape) > 0 {
		x.Items = int(min(s[0].Shape[0], math.MaxInt32))
	}
	ctx, cancel := x.Deadline(r)
	defer cancel()
	response, err := call.Run(ctx)
	if err != nil {
		return plain(err)
	}
	x.Timeline = response.Timeline
	return a.respond(x, r, response, w)
}

// jsonLength is how much of a body is JSON: what the header says, read as C's atoi reads it.
func jsonLength(h http.Header, size int) (int, error) {
	values := h[headerLength]
	if len(values) == 0 {
		return size, nil
	}
	n := atoi(values[0])
	if n < 0 || n > size {
		return 0, fault.New(fault.Invalid, "inference header size should be in range (0, %d), got: %s", size, values[0])
	}
	return n, nil
}

func atoi(s string) int {
	s = strings.TrimLeft(s, " \t")
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	n := 0
	for i := 0; i < len(s) && s[i]-'0' <= 9; i++ {
		n = min(n*10+int(s[i]-'0'), math.MaxInt32)
	}
	if neg {
		return -n
	}
	return n
}

// fill translates; the tensors' bytes stay where they are.
func fill(request *oip.Request, w *wire.Request) {
	request.ID = w.ID
	q := &w.Params
	request.Params, request.Priority = q.Custom, q.Priority
	request.Timeout = time.Duration(min(q.Timeout, math.MaxInt64/1000)) * time.Microsecond
	request.Sequence = oip.Sequence{ID: q.SequenceID, Name: q.SequenceName, Start: q.SequenceStart, End: q.SequenceEnd}
	request.Inputs = make([]oip.Input, len(w.Inputs))
	for i := range w.Inputs {
		in := &w.Inputs[i]
		request.Inputs[i] = oip.Input{Name: in.Name, DType: in.DType, Shape: in.Shape, Data: in.Data, Memory: memory(in.Region), Params: in.Params}
	}
	for i := range w.Outputs {
		o := &w.Outputs[i]
		request.Outputs = append(request.Outputs, oip.RequestedOutput{Name: o.Name, Classification: int(min(o.Classes, math.MaxInt32)),
			Binary: o.Binary, Memory: memory(o.Region), Params: o.Params})
	}
}

func memory(r *wire.Region) *oip.Memory {
	if r == nil {
		return nil
	}
	return &oip.Memory{Region: r.Name, Offset: r.Offset, Size: r.Size}
}

// respond prints the answer, binary where that was asked for, compressed where the client takes it.
func (a *API) respond(x *front.Exchange, r *http.Request, response *oip.Response, w *wire.Request) error {
	out := wire.Response{ID: response.ID, Model: response.Model, Version: response.Version, Params: response.Params,
		Tensors: make([]wire.ResponseTensor, len(response.Outputs))}
	room := 256
	for i := range response.Outputs {
		o := &response.Outputs[i]
		t := wire.ResponseTensor{Name: o.Name, DType: o.DType, Shape: o.Shape, Data: o.Data, Shared: o.Memory != nil}
		t.Binary = !t.Shared && binaryOutput(w, o.Name)
		out.Tensors[i] = t
		if t.Binary {
			room += len(t.Data) + 160
		} else {
			room += 6*len(t.Data) + 160 // an FP32 prints in about 20 bytes
		}
	}
	buffer := x.Buffer(room)
	b, header, binary, err := out.Append(*buffer)
	*buffer = b
	if err != nil {
		return plain(err)
	}
	contentType := typeJSON
	if binary {
		contentType = typeBinary
		x.Header()[headerLength] = []string{itoa(header)}
	}
	return a.sendEncoded(x, r.Header.Get("Accept-Encoding"), contentType, b)
}

// binaryOutput tells whether a request wants an output's bytes; naming outputs overrides the default.
func binaryOutput(w *wire.Request, name string) bool {
	if len(w.Outputs) == 0 {
		return w.Params.BinaryOutput
	}
	for i := range w.Outputs {
		if w.Outputs[i].Name == name {
			return w.Outputs[i].Binary
		}
	}
	return false
}
