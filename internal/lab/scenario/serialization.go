package scenario

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/target"
	"github.com/vitrine-project/vitrine/internal/wire"
)

//go:embed encode.py
var pythonEncoder string

// encoding is what one encoder or decoder did with one format: the time of each repetition and the size
// of the request body.
type encoding struct {
	times []float64 // ms
	bytes int
	note  string
}

// errLeftOut is a cell that this machine cannot measure; its text says why.
var errLeftOut = errors.New("left out")

// body makes the body of a request for batch times the image.
func body(format string, image *target.Image, batch int, b []byte) []byte {
	switch format {
	case "json":
		return jsonBody(image, batch, b)
	case "binary":
		b, _ = binaryBody(image, batch, b)
		return b
	}
	return base64Body(image, batch, b)
}

// jsonBody is a request of the Open Inference Protocol whose data are decimal numbers: float32 values as
// float64, the digits that Python's .tolist() and json.dumps print.
func jsonBody(image *target.Image, batch int, b []byte) []byte {
	b = append(tensorHead(image, batch, b), `,"data":[`...)
	for i := range batch {
		for j, v := range image.Tensor {
			if i+j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendFloat(b, float64(v), 'g', -1, 64)
		}
	}
	return append(b, "]}]}"...)
}

// binaryBody is the same with the binary tensor extension; header is its JSON part's length.
func binaryBody(image *target.Image, batch int, b []byte) (out []byte, header int) {
	b = append(tensorHead(image, batch, b), `,"parameters":{"binary_data_size":`...)
	b = strconv.AppendInt(b, int64(4*batch*len(image.Tensor)), 10)
	b = append(b, "}}]}"...)
	header = len(b)
	for range batch {
		for _, v := range image.Tensor {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b, header
}

func tensorHead(image *target.Image, batch int, b []byte) []byte {
	return fmt.Appendf(b, `{"inputs":[{"name":"image","shape":[%d,3,%d,%d],"datatype":"FP32"`, batch, image.Height, image.Width)
}

func base64Body(image *target.Image, batch int, b []byte) []byte {
	b = append(b, `{"images":[`...)
	for i := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, image.JPEG)
		b = append(b, '"')
	}
	return append(b, "]}"...)
}

// repeat times f after a warm-up.
func repeat(ctx context.Context, repeats, warmup int, f func() error) (times []float64, err error) {
	for i := range warmup + repeats {
		if err := ctx.Err(); err != nil {
			return times, context.Cause(ctx)
		}
		began := time.Now()
		if err := f(); err != nil {
			return times, err
		}
		if i >= warmup {
			times = append(times, milliseconds(time.Since(began)))
		}
	}
	return times, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// encodeGo times the encoder that a Go client has.
func encodeGo(ctx context.Context, format string, image *target.Image, batch, repeats, warmup int) (e encoding, err error) {
	var b []byte
	e.times, err = repeat(ctx, repeats, warmup, func() error {
		b = body(format, image, batch, b[:0])
		return nil
	})
	e.bytes = len(b)
	e.note = "Go " + format + ", one buffer used again"
	return e, err
}

// decodeServer times Vitrine's own parsers, up to tensors or JPEG files; a JPEG is not decoded.
func decodeServer(ctx context.Context, format string, image *target.Image, batch, repeats, warmup int) (e encoding, err error) {
	b, header := body(format, image, batch, nil), 0
	e.bytes = len(b)
	var r wire.Request
	parse := func() error { return r.Parse(b, header, "model") }
	switch format {
	case "binary":
		b, header = binaryBody(image, batch, nil)
		e.note = "the tensor is a view of the body: nothing is copied"
	case "json":
		header = len(b)
	default:
		parse = func() error { return parseBase64(b) }
		e.note = "encoding/json and encoding/base64, up to the JPEG files, which are not decoded"
	}
	e.times, err = repeat(ctx, repeats, warmup, parse)
	return e, err
}

func parseBase64(b []byte) error {
	var request struct {
		Images [][]byte `json:"images"`
	}
	return json.Unmarshal(b, &request)
}

// encodePython times what a Python client does, with the interpreter named.
func encodePython(ctx context.Context, python, format string, image *target.Image, batch, repeats, warmup int) (encoding, error) {
	if python == "" {
		return encoding{}, fmt.Errorf("%w: no Python is named", errLeftOut)
	}
	job, err := json.Marshal(map[string]any{"format": format, "batch": batch, "shape": []int{3, image.Height, image.Width},
		"repeats": repeats, "warmup": warmup, "jpeg": len(image.JPEG)})
	if err != nil {
		return encoding{}, err
	}
	in := append(job, '\n')
	for _, v := range image.Tensor {
		in = binary.LittleEndian.AppendUint32(in, math.Float32bits(v))
	}
	in = append(in, image.JPEG...)
	c := exec.CommandContext(ctx, python, "-c", pythonEncoder)
	var out, complaint bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), &out, &complaint
	if err := c.Run(); err != nil {
		return encoding{}, pythonError(err, complaint.String())
	}
	var answer struct {
		MS            []float64 `json:"ms"`
		Bytes         int       `json:"bytes"`
		Python, Numpy string
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || len(answer.MS) != repeats {
		return encoding{}, fmt.Errorf("the Python encoder answered %q: %w", clip(out.String(), 200), errors.Join(err))
	}
	return encoding{answer.MS, answer.Bytes, "Python " + answer.Python + ", numpy " + answer.Numpy}, nil
}

// pythonError tells a Python without numpy, or none at all, from a failure.
func pythonError(err error, complaint string) error {
	if errors.Is(err, exec.ErrNotFound) || strings.Contains(complaint, "No module named") {
		return fmt.Errorf("%w: no Python with numpy: %w %s", errLeftOut, err, lastLine(complaint))
	}
	return fmt.Errorf("the Python encoder: %w: %s", err, lastLine(complaint))
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return clip(lines[len(lines)-1], 200)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
