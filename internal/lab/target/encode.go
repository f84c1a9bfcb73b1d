package target

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// wireRequest is a request before its headers.
type wireRequest struct {
	path    string
	headers []string // lines without an end
	body    []byte
	check   checker
}

var (
	errNoImages = errors.New("a request needs an image")
	errOneImage = errors.New("this format carries one image a request")
)

const typeJSON = "Content-Type: application/json"

// encodeEmbed makes a request of the embedding APIs.
func encodeEmbed(format string, images []Image) (wireRequest, error) {
	switch format {
	case EmbedBase64:
		return wireRequest{"/embed/base64", []string{typeJSON}, base64Body(images), checkEmbeddings}, nil
	case OpenAI:
		return wireRequest{"/v1/embeddings", []string{typeJSON}, openAIBody(images), checkOpenAI}, nil
	case EmbedBatch:
		return wireRequest{"/embed/batch", []string{"Content-Type: multipart/form-data; boundary=" + boundary}, formBody(images), checkEmbeddings}, nil
	}
	if len(images) != 1 {
		return wireRequest{}, errOneImage
	}
	return wireRequest{"/embed", []string{"Content-Type: image/jpeg"}, images[0].JPEG, checkEmbeddings}, nil
}

// base64Body is json.dumps({"images": [...]}).
func base64Body(images []Image) []byte {
	b := []byte(`{"images": [`)
	for i := range images {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, images[i].JPEG)
		b = append(b, '"')
	}
	return append(b, "]}"...)
}

func openAIBody(images []Image) []byte {
	b := []byte(`{"model": "ViT-B-32", "encoding_format": "float", "input": [`)
	for i := range images {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, `"data:image/jpeg;base64,`...)
		b = base64.StdEncoding.AppendEncode(b, images[i].JPEG)
		b = append(b, '"')
	}
	return append(b, "]}"...)
}

const boundary = "vitrine-5d8a3f0c71b2e694"

func formBody(images []Image) []byte {
	var b bytes.Buffer
	for i := range images {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"files\"; filename=\"%d.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n", boundary, i)
		b.Write(images[i].JPEG)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// tensorInput is a model's input as its metadata has it.
type tensorInput struct {
	Name     string
	Datatype string
	Shape    []int64
}

// kinds are the data types that formats send.
var kinds = map[string]string{
	OIPJSON: "FP32", OIPBinary: "FP32", OIPGRPC: "FP32", OIPBinaryU8: "UINT8", OIPRaw: "BYTES", OIPGRPCImage: "BYTES",
}

// shapeOf is the shape of a batch of images.
func shapeOf(datatype string, in tensorInput, images []Image) []int64 {
	n, h, w := int64(len(images)), int64(images[0].Height), int64(images[0].Width)
	switch datatype {
	case "UINT8":
		return []int64{n, h, w, 3}
	case "BYTES":
		shape := []int64{n}
		for range max(0, len(in.Shape)-1) {
			shape = append(shape, 1)
		}
		return shape
	}
	return []int64{n, 3, h, w}
}

// rawTensor is a batch as little-endian elements; BYTES have their length before them.
func rawTensor(datatype string, images []Image) []byte {
	var b []byte
	for i := range images {
		m := &images[i]
		switch datatype {
		case "UINT8":
			b = append(b, m.Pixels...)
		case "BYTES":
			b = binary.LittleEndian.AppendUint32(b, uint32(len(m.JPEG)))
			b = append(b, m.JPEG...)
		default:
			for _, v := range m.Tensor {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
		}
	}
	return b
}

// sameSize checks that images make one batch, and hold what the data type needs.
func sameSize(datatype string, images []Image) error {
	for i := range images {
		m := &images[i]
		if datatype != "BYTES" && (m.Width != images[0].Width || m.Height != images[0].Height) {
			return fmt.Errorf("images of %dx%d and %dx%d make no batch", m.Width, m.Height, images[0].Width, images[0].Height)
		}
		n := 3 * m.Width * m.Height
		if datatype == "FP32" && len(m.Tensor) != n || datatype == "UINT8" && len(m.Pixels) != n || datatype == "BYTES" && len(m.JPEG) == 0 {
			return fmt.Errorf("image %q holds no %s input of its size", m.Name, datatype)
		}
	}
	return nil
}

// encodeOIP makes an inference request of the Open Inference Protocol over HTTP.
func encodeOIP(format, path string, in tensorInput, images []Image) (wireRequest, error) {
	q := wireRequest{path: path, check: checkOIP}
	if format == OIPRaw {
		if len(images) != 1 {
			return q, errOneImage
		}
		q.headers = []string{"Content-Type: application/octet-stream", "Inference-Header-Content-Length: 0"}
		q.body = images[0].JPEG
		return q, nil
	}
	kind := kinds[format]
	shape := strings.Join(strings.Fields(fmt.Sprint(shapeOf(kind, in, images))), ", ")
	b := fmt.Appendf(nil, `{"inputs": [{"name": %s, "shape": %s, "datatype": %q, `, strconv.Quote(in.Name), shape, kind)
	if format == OIPJSON {
		q.headers = []string{typeJSON}
		q.body = append(appendList(append(b, `"data": [`...), images), "]}]}"...)
		return q, nil
	}
	tensor := rawTensor(kind, images)
	b = fmt.Appendf(b, `"parameters": {"binary_data_size": %d}}], "parameters": {"binary_data_output": true}}`, len(tensor))
	q.headers = []string{"Content-Type: application/octet-stream", "Inference-Header-Content-Length: " + strconv.Itoa(len(b))}
	q.body = append(b, tensor...)
	return q, nil
}

// appendList writes pixels as Python's json.dumps(array.ravel().tolist()) does: float32 values as float64,
// shortest digits, ", " between them.
func appendList(b []byte, images []Image) []byte {
	for i := range images {
		for j, v := range images[i].Tensor {
			if i+j > 0 {
				b = append(b, ", "...)
			}
			b = appendRepr(b, float64(v))
		}
	}
	return b
}

// appendRepr writes Python's repr of a float: exponents below 1e-4 and from 1e16 on, a fraction otherwise.
func appendRepr(b []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	from := len(b)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	if bytes.IndexByte(b[from:], '.') < 0 {
		b = append(b, ".0"...)
	}
	return b
}
