package embedapi

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
)

const (
	typeJSON   = "application/json"
	typeBinary = "application/octet-stream"
	typeNPY    = "application/x-npy"
)

// respond writes the embeddings in the form that the client accepts.
func (a *API) respond(x *front.Exchange, r *http.Request, results []service.Result) error {
	switch front.Negotiate(r.Header.Get("Accept"), typeJSON, typeBinary, typeNPY) {
	case typeBinary:
		a.respondBinary(x, results, typeBinary, nil)
	case typeNPY:
		a.respondBinary(x, results, typeNPY, npyHeader(len(results), a.meta.Dim))
	default:
		a.respondJSON(x, results)
	}
	return nil
}

// respondJSON writes {"embeddings":[[...],...],"model_info":{...},"count":n}; an item that failed is
// null, and "errors" tells why.
func (a *API) respondJSON(x *front.Exchange, results []service.Result) {
	buffer := x.Buffer(len(results)*(a.meta.Dim*14+8) + len(a.info) + 256)
	b := append(*buffer, `{"embeddings":[`...)
	failed := 0
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if results[i].Err != nil {
			failed++
			b = append(b, "null"...)
			continue
		}
		b = appendFloats(b, results[i].Embedding)
	}
	b = append(b, `],"model_info":`...)
	b = append(b, a.info...)
	b = append(b, `,"count":`...)
	b = strconv.AppendInt(b, int64(len(results)), 10)
	if failed > 0 {
		b = appendErrors(b, results)
	}
	b = append(b, '}')
	*buffer = b
	x.Send(http.StatusOK, typeJSON, b)
}

func appendErrors(b []byte, results []service.Result) []byte {
	type itemError struct {
		Index  int    `json:"index"`
		Kind   string `json:"kind"`
		Detail string `json:"detail"`
	}
	var list []itemError
	for i := range results {
		if err := results[i].Err; err != nil {
			f := fault.Of(err)
			list = append(list, itemError{i, f.Kind.String(), itemMessage(f)})
		}
	}
	return append(append(b, `,"errors":`...), mustJSON(list)...)
}

// appendFloats writes the shortest digits that read back as the same float32. JSON has no NaN and no
// infinity: they become null, as pydantic writes them.
func appendFloats(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, f := range v {
		if i > 0 {
			b = append(b, ',')
		}
		if f-f != 0 {
			b = append(b, "null"...)
			continue
		}
		b = appendFloat(b, f)
	}
	return append(b, ']')
}

// respondBinary writes [count, dim] float32 after a header; an item that failed is a row of NaN, and
// X-Embedding-Errors lists its index.
func (a *API) respondBinary(x *front.Exchange, results []service.Result, contentType string, header []byte) {
	h := x.Header()
	h["X-Embedding-Shape"] = []string{fmt.Sprintf("%d,%d", len(results), a.meta.Dim)}
	buffer := x.Buffer(len(header) + 4*len(results)*a.meta.Dim)
	b := append(*buffer, header...)
	var failed []string
	for i := range results {
		if results[i].Err == nil {
			b = appendBinary(b, results[i].Embedding)
			continue
		}
		failed = append(failed, strconv.Itoa(i))
		for range a.meta.Dim {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(math.NaN())))
		}
	}
	if failed != nil {
		h["X-Embedding-Errors"] = []string{strings.Join(failed, ",")}
	}
	*buffer = b
	x.Send(http.StatusOK, contentType, b)
}

func appendBinary(b []byte, v []float32) []byte {
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// npyHeader is NumPy's format 1.0: magic, version, the length of a Python literal that is padded so
// that the data starts at a multiple of 64 bytes.
func npyHeader(rows, dim int) []byte {
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, dim)
	const fixed = 10 // magic, version, length
	pad := 64 - (fixed+len(dict)+1)%64
	dict += strings.Repeat(" ", pad%64) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(dict)))
	return append(b, dict...)
}
