package cuda

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/fp8"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// floatAnswers are what the device computes in float32 of the photographs that fp8 is checked with.
func floatAnswers(m *model.Model, o Options) (_ [][]float32, err error) {
	images := fp8.Photos(m.Config.ImageSize)
	o.Precision, o.Calibration, o.Instances, o.MaxBatch = engine.FP32, nil, 1, len(images)
	e, err := New(m, o)
	if err != nil {
		return nil, fmt.Errorf("float32, to check fp8 with: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if i := e.gpu.Info(); i.Capability != 90 {
		return nil, fmt.Errorf("cuda engine: fp8 needs compute capability 9.0 (Hopper), %s has %s: use --precision fp16", i.Name, i.Capability)
	}
	return e.embed(images)
}

// embed computes images, each the pixels of a FormatUint8HWC row.
func (e *Engine) embed(images [][]byte) (embeddings [][]float32, err error) {
	for len(images) > 0 {
		n := min(len(images), e.spec.MaxBatch)
		out, err := e.embedBatch(images[:n])
		if err != nil {
			return nil, err
		}
		images, embeddings = images[n:], append(embeddings, out...)
	}
	return embeddings, nil
}

func (e *Engine) embedBatch(images [][]byte) (out [][]float32, err error) {
	var rows []tensor.Row
	defer func() {
		for _, r := range rows {
			r.Release()
		}
	}()
	for _, pixels := range images {
		r, err := e.NewRow(tensor.FormatUint8HWC)
		if err != nil {
			return nil, err
		}
		copy(r.Bytes(), pixels)
		rows, out = append(rows, r), append(out, make([]float32, e.spec.Dim()))
	}
	_, err = e.Run(context.Background(), rows, out)
	return out, err
}

// check compares the engine, which is in fp8, with float32 on the same device. It returns the lowest cosine.
func (e *Engine) check(want [][]float32) (worst float64, err error) {
	got, err := e.embed(fp8.Photos(e.spec.Width))
	if err != nil {
		return 0, err
	}
	worst = 1
	for i := range got {
		worst = min(worst, fp8.Cosine(got[i], want[i]))
	}
	if !(worst >= fp8.MinCosine) {
		return worst, fmt.Errorf("fp8 is too far from this device's own float32: cosine %.6f of a photograph, want at least %v; "+
			"calibrate again, with more images or a higher --min-cosine (vitrine model calibrate), or use --precision fp16", worst, fp8.MinCosine)
	}
	return worst, nil
}
