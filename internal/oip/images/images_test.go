package images

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"slices"
	"strings"
	"testing"

	"github.com/vitrine-project/vitrine/internal/engine/null"
	"github.com/vitrine-project/vitrine/internal/fault"
	vit "github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/service"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// serve makes the three models over the null engine, whose vectors tell its inputs apart.
func serve(t *testing.T) *oip.Server {
	t.Helper()
	c, ok := vit.Preset("ViT-B-32")
	if !ok {
		t.Fatal("no preset")
	}
	p, err := preproc.New(preproc.PlanFor(c), preproc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := service.New(service.Options{Name: "m", Version: "1", Pipeline: p,
		Engine: null.New(null.Options{Width: c.ImageSize, Height: c.ImageSize, Dim: 8, MaxBatch: 4})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.WarmUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	registry := oip.NewRegistry(nil)
	for _, m := range Models(s, Batching{Instances: 1}) {
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return oip.NewServer(registry, nil)
}

func picture() (pixels, file []byte) {
	const w, h = 30, 20
	im := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{uint8(8 * x), uint8(12 * y), uint8(x * y), 255}
			im.SetNRGBA(x, y, c)
			pixels = append(pixels, c.R, c.G, c.B)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		panic(err) // into memory
	}
	return pixels, b.Bytes()
}

func element(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func TestThreeWaysIn(t *testing.T) {
	s := serve(t)
	pixels, file := picture()
	ask := func(name string, in oip.Input, raw bool) *oip.Response {
		t.Helper()
		in.Name = Input
		r, err := s.Infer(t.Context(), &oip.Request{Model: name, Raw: raw, Inputs: []oip.Input{in}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return r
	}
	u8 := ask("m_u8", oip.Input{DType: tensor.Uint8, Shape: []int64{1, 20, 30, 3}, Data: pixels}, false)
	file1 := ask("m_jpeg", oip.Input{DType: tensor.Bytes, Shape: []int64{1, 1}, Data: element(file)}, false)
	bare := ask("m_jpeg", oip.Input{Data: slices.Clone(file)}, true) // which uses it up
	two := ask("m_jpeg", oip.Input{DType: tensor.Bytes, Shape: []int64{2, 1}, Data: append(element(file), element(file)...)}, false)
	if got := u8.Outputs[0].Data; !bytes.Equal(got, file1.Outputs[0].Data) || !bytes.Equal(got, bare.Outputs[0].Data) || len(got) != 32 {
		t.Error("pixels, file and bare file differ")
	}
	if o := two.Outputs[0]; o.Shape[0] != 2 || o.Shape[1] != 8 || len(o.Data) != 64 || two.Timeline.BatchSize != 2 {
		t.Errorf("%+v, a batch of %d", o, two.Timeline.BatchSize)
	}
	floats := tensor.BytesOf(make([]float32, 3*224*224))
	if r := ask("m", oip.Input{DType: tensor.FP32, Shape: []int64{1, 3, 224, 224}, Data: floats}, false); len(r.Outputs[0].Data) != 32 {
		t.Errorf("%+v", r)
	}
	inPieces := func(b []byte) tensor.Pieces { return tensor.PiecesOf(slices.Collect(slices.Chunk(b, 1001))) }
	if got := ask("m_u8", oip.Input{DType: tensor.Uint8, Shape: []int64{1, 20, 30, 3}, Pieces: inPieces(pixels)}, false); !bytes.Equal(got.Outputs[0].Data, u8.Outputs[0].Data) {
		t.Error("pixels in pieces differ")
	}
	pair := tensor.AlignedFloat32s(2 * 3 * 224 * 224)
	for i := range pair {
		pair[i] = float32(i)
	}
	in := oip.Input{DType: tensor.FP32, Shape: []int64{2, 3, 224, 224}, Data: tensor.BytesOf(pair)}
	whole := ask("m", in, false).Outputs[0].Data
	in.Data, in.Pieces = nil, inPieces(in.Data)
	if got := ask("m", in, false).Outputs[0].Data; !bytes.Equal(got, whole) || bytes.Equal(got[:32], got[32:]) {
		t.Error("tensors in pieces differ, or two that should do not")
	}
	m, _ := s.Models.Get("m_jpeg", "")
	if st := m.Statistics(); st.InferenceCount != 4 || st.ExecutionCount != 3 || st.Infer.Success.Count != 3 || len(st.Batches) != 2 {
		t.Errorf("%+v", st)
	}
}

func TestFailures(t *testing.T) {
	s := serve(t)
	_, file := picture()
	for _, c := range []struct {
		model string
		in    oip.Input
		kind  fault.Kind
		text  string
	}{
		{"m_jpeg", oip.Input{DType: tensor.Bytes, Shape: []int64{2, 1}, Data: append(element(file), element([]byte("no image"))...)}, fault.UnsupportedMedia, "image[1]"},
		{"m_jpeg", oip.Input{DType: tensor.Bytes, Shape: []int64{5, 1}, Data: bytes.Repeat(element(file), 5)}, fault.Invalid, "batch-size must be <= 4"},
		{"m_jpeg", oip.Input{DType: tensor.Bytes, Shape: []int64{0, 1}}, fault.Invalid, "holds no image"},
		{"m_u8", oip.Input{DType: tensor.Uint8, Shape: []int64{1, 0, 5, 3}}, fault.Invalid, "pixels"},
		{"m_u8", oip.Input{DType: tensor.Uint8, Shape: []int64{1, 1 << 40, 1 << 40, 3}}, fault.Invalid, "too large"},
	} {
		c.in.Name = Input
		_, err := s.Infer(t.Context(), &oip.Request{Model: c.model, Inputs: []oip.Input{c.in}})
		if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v (%v), want %s", c.model, err, fault.KindOf(err), c.text)
		}
	}
}
