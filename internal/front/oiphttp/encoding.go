package oiphttp

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
)

func itoa(n int) string { return strconv.Itoa(n) }

// body reads a request's body, decompressed.
func (a *API) body(x *front.Exchange, r *http.Request) ([]byte, error) {
	encoding := r.Header.Get("Content-Encoding")
	switch encoding {
	case "", "identity":
		return x.Body(r)
	case "gzip", "deflate":
	default:
		x.Header()["Accept-Encoding"] = []string{"gzip, deflate"}
		return nil, fault.New(fault.Unimplemented, "Unsupported compression type")
	}
	packed, err := x.Body(r)
	if err != nil {
		return nil, err
	}
	return a.decompress(packed, encoding)
}

// decompress returns what a body holds, as Triton does: one that ends early holds less, and one that
// is not compressed holds nothing; its own checks then say what is missing. A wrong checksum is refused.
func (a *API) decompress(packed []byte, encoding string) ([]byte, error) {
	var from io.Reader
	var err error
	if encoding == "gzip" {
		from, err = gzip.NewReader(bytes.NewReader(packed))
	} else {
		from, err = zlib.NewReader(bytes.NewReader(packed))
	}
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	var out bytes.Buffer // it grows by what arrives: a bomb costs its limit and no more
	n, err := out.ReadFrom(io.LimitReader(from, a.maxInput+1))
	switch {
	case n > a.maxInput:
		return nil, fault.New(fault.Invalid, "decompressed request size exceeds the maximum allowed input size of %d bytes. Use --max-body to increase the limit.", a.maxInput)
	case err == nil, errors.Is(err, io.ErrUnexpectedEOF):
		return out.Bytes(), nil
	}
	return nil, fault.Wrap(fault.Invalid, err, "the body is not %s", encoding)
}

var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	zlibWriters = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}
)

// sendEncoded answers in the encoding that an Accept-Encoding header weighs highest.
func (a *API) sendEncoded(x *front.Exchange, accept, contentType string, body []byte) error {
	var to bytes.Buffer
	switch encoding := preferred(accept); encoding {
	case "gzip":
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		w.Reset(&to)
		pack(w, body)
		x.Header()["Content-Encoding"] = []string{encoding}
		body = to.Bytes()
	case "deflate":
		w := zlibWriters.Get().(*zlib.Writer)
		defer zlibWriters.Put(w)
		w.Reset(&to)
		pack(w, body)
		x.Header()["Content-Encoding"] = []string{encoding}
		body = to.Bytes()
	}
	x.Send(http.StatusOK, contentType, body)
	return nil
}

func pack(w io.WriteCloser, body []byte) {
	_, _ = w.Write(body) // into memory
	_ = w.Close()
}

// preferred is identity, gzip or deflate: the first of the highest weight. "*" means nothing here.
func preferred(accept string) string {
	best, weight := "identity", 0.0
	for item := range strings.SplitSeq(accept, ",") {
		item = strings.TrimLeft(item, " ")
		name, q, weighed := strings.Cut(item, ";q=")
		w := 1.0
		if weighed {
			var err error
			if w, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		if (name == "identity" || name == "gzip" || name == "deflate") && w > weight {
			best, weight = name, w
		}
	}
	return best
}
