package embedapi

import (
	"net/http"
	"strings"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/service"
)

// embedRaw answers POST /embed: the body is one image. Its format is told by its bytes; the content
// type only has to leave that possible, and curl's --data-binary calls everything a form.
func (a *API) embedRaw(x *front.Exchange, r *http.Request) error {
	if err := rawType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	o, body, err := a.read(x, r)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return fault.New(fault.Invalid, "the body is empty: send one image's bytes").In("body")
	}
	response, err := a.infer(x, r, "body", []service.Item{{Kind: service.Encoded, Data: body}}, &o)
	if err != nil {
		return err
	}
	return a.respond(x, r, response.Results)
}

func rawType(contentType string) error {
	switch kind := front.MediaType(contentType); {
	case kind == "", kind == "application/octet-stream", kind == "application/x-www-form-urlencoded",
		kind == "binary/octet-stream", strings.HasPrefix(kind, "image/"):
		return nil
	case kind == "multipart/form-data":
		return fault.New(fault.UnsupportedMedia, "POST /embed takes one image's bytes; forms go to /embed/batch")
	case kind == "application/json":
		return fault.New(fault.UnsupportedMedia, "POST /embed takes one image's bytes; JSON goes to /embed/base64")
	default:
		return fault.New(fault.UnsupportedMedia, "content type %.100q is not an image", kind)
	}
}

// jsonType accepts what clients send JSON as, curl's default included.
func jsonType(contentType string) error {
	switch kind := front.MediaType(contentType); {
	case kind == "", kind == "application/json", kind == "text/json", kind == "text/plain",
		kind == "application/x-www-form-urlencoded", kind == "application/octet-stream", strings.HasSuffix(kind, "+json"):
		return nil
	default:
		return fault.New(fault.UnsupportedMedia, "content type %.100q is not JSON", kind)
	}
}
