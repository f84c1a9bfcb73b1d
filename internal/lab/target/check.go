package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// checker tells whether a body answers a request of so many images. header is the length of its JSON
// part, -1 if the server did not say.
type checker func(body []byte, header, images int) error

func statusText(status int) string {
	s := strconv.Itoa(status)
	if t := http.StatusText(status); t != "" {
		s += " " + t
	}
	return s
}

// message is the reason in an error body, as FastAPI, Triton and OpenAI write it, behind ": ".
func message(body []byte) string {
	var e struct {
		Detail, Error json.RawMessage
		Message       string
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	text := e.Message
	for _, raw := range []json.RawMessage{e.Detail, e.Error} {
		if s := inner(raw); s != "" {
			text = s
		}
	}
	if text == "" {
		return ""
	}
	return ": " + clip(text, 200)
}

// inner is the text of a JSON string, the message of an object, or the JSON itself.
func inner(raw json.RawMessage) string {
	var s string
	var o struct{ Message string }
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return s
	case json.Unmarshal(raw, &o) == nil && o.Message != "":
		return o.Message
	}
	return string(raw)
}

// failure is an error body under a success status.
func failure(body []byte) error {
	if isError(bytes.TrimSpace(body)) {
		if m := message(body); m != "" {
			return errors.New("an error under a success status" + m)
		}
	}
	return nil
}

// checkEmbeddings reads {"embeddings": [[...], ...]}.
func checkEmbeddings(body []byte, _, images int) error {
	var a struct {
		Embeddings [][]float64 `json:"embeddings"`
	}
	if err := firstError(failure(body), json.Unmarshal(body, &a)); err != nil {
		return err
	}
	return vectors(len(a.Embeddings), images, func(i int) int { return len(a.Embeddings[i]) })
}

// checkOpenAI reads {"data": [{"embedding": [...]}, ...]}.
func checkOpenAI(body []byte, _, images int) error {
	var a struct {
		Data []struct {
			Embedding []float64 `json:"embedding"`
		} `json:"data"`
	}
	if err := firstError(failure(body), json.Unmarshal(body, &a)); err != nil {
		return err
	}
	return vectors(len(a.Data), images, func(i int) int { return len(a.Data[i].Embedding) })
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// vectors checks that there is one for each image, all of one length above zero.
func vectors(n, images int, length func(int) int) error {
	if n != images {
		return fmt.Errorf("%d embeddings for %d images", n, images)
	}
	for i := range n {
		if length(i) == 0 || length(i) != length(0) {
			return fmt.Errorf("embedding %d has %d values, the first one %d", i, length(i), length(0))
		}
	}
	return nil
}

// checkOIP reads an answer of the Open Inference Protocol, its tensors as JSON or binary.
func checkOIP(body []byte, header, images int) error {
	text := body
	if header >= 0 {
		if header > len(body) {
			return fmt.Errorf("its JSON has %d bytes of %d", header, len(body))
		}
		text = body[:header]
	}
	var a struct {
		Outputs []struct {
			Name       string
			Shape      []int64
			Data       json.RawMessage
			Parameters struct {
				Size *int `json:"binary_data_size"`
			}
		}
	}
	if err := firstError(failure(text), json.Unmarshal(text, &a)); err != nil {
		return err
	}
	if len(a.Outputs) == 0 {
		return errors.New("no outputs")
	}
	binary := 0
	for _, o := range a.Outputs {
		if err := batchOf(o.Name, o.Shape, images); err != nil {
			return err
		}
		switch {
		case o.Parameters.Size != nil:
			binary += *o.Parameters.Size
		case len(o.Data) < 2*images:
			return fmt.Errorf("output %s has no data", o.Name)
		}
	}
	if got := len(body) - len(text); got != binary {
		return fmt.Errorf("%d bytes of tensors, %d announced", got, binary)
	}
	return nil
}

// batchOf checks an output's first dimension.
func batchOf(name string, shape []int64, images int) error {
	if len(shape) < 2 || shape[0] != int64(images) || shape[1] < 1 {
		return fmt.Errorf("output %s has the shape %v for %d images", name, shape, images)
	}
	return nil
}
