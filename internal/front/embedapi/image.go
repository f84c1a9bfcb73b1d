package embedapi

import (
	"bytes"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front/jsonscan"
)

// maxURIHeader is how far a data URI's comma may be.
const maxURIHeader = 256

// imageString decodes the image in a JSON string, in place: base64, or a data URI of it. An
// escaped string may hold line breaks, as MIME's base64 does.
func imageString(b []byte, escaped, uriOnly bool) ([]byte, *fault.Error) {
	payload, err := stripURI(b, uriOnly)
	if err != nil {
		return nil, err
	}
	if len(payload) == 0 {
		return nil, fault.New(fault.Invalid, "the image is empty")
	}
	n, bad := jsonscan.DecodeBase64(payload, payload, escaped)
	switch {
	case bad == len(payload):
		return nil, fault.New(fault.Invalid, "the base64 text is cut off")
	case bad >= 0:
		return nil, fault.New(fault.Invalid, "byte %d of the base64 text is not base64", bad)
	}
	return payload[:n], nil
}

// stripURI returns the base64 part of a data URI, or b itself.
func stripURI(b []byte, uriOnly bool) ([]byte, *fault.Error) {
	switch {
	case hasPrefixFold(b, "data:"):
		return uriPayload(b)
	case hasPrefixFold(b, "http://"), hasPrefixFold(b, "https://"):
		return nil, fault.New(fault.Invalid, "remote images are not fetched: send the image itself, as base64 or a data URI")
	case uriOnly:
		return nil, errText
	}
	return b, nil
}

// errText is what text gets from a model that embeds images.
var errText = fault.New(fault.Invalid, "this model embeds images, not text: send each image as a data URI (data:image/jpeg;base64,...)")

func uriPayload(b []byte) ([]byte, *fault.Error) {
	comma := bytes.IndexByte(b[:min(len(b), maxURIHeader)], ',')
	if comma < 0 {
		return nil, fault.New(fault.Invalid, "the data URI has no comma in its first %d bytes", maxURIHeader)
	}
	head := b[len("data:"):comma]
	for _, c := range head {
		if c < 0x20 || c > '~' {
			return nil, fault.New(fault.Invalid, "the data URI's header is not plain text")
		}
	}
	kind, ok := bytes.CutSuffix(head, []byte(";base64"))
	if !ok {
		return nil, fault.New(fault.Invalid, "the data URI is not base64 (data:image/jpeg;base64,...)")
	}
	kind, _, _ = bytes.Cut(kind, []byte{';'})
	if len(kind) > 0 && !hasPrefixFold(kind, "image/") && !hasPrefixFold(kind, "application/octet-stream") {
		return nil, fault.New(fault.UnsupportedMedia, "a data URI of %s is not an image", kind)
	}
	return b[comma+1:], nil
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}
