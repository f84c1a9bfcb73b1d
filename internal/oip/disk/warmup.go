package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// warmupDir is the folder beside the versions that holds the files of model_warmup.
const warmupDir = "warmup"

// maxWarmup bounds the bytes of one warm-up tensor.
const maxWarmup = 1 << 30

// warm sends the requests of model_warmup; one that fails is the model's failure.
func warm(ctx context.Context, m *repository.Model, to oip.Model) error {
	for _, w := range m.Config.ModelWarmup {
		request, err := warmRequest(m, &w)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "model_warmup '%s' of model '%s'", w.Name, m.Config.Name)
		}
		for range max(1, w.Count) {
			if err := oip.Try(ctx, to, request); err != nil {
				return fault.Wrap(fault.KindOf(err), err, "model_warmup '%s' of model '%s'", w.Name, m.Config.Name)
			}
		}
	}
	return nil
}

func warmRequest(m *repository.Model, w *repository.Warmup) (*oip.Request, error) {
	r := &oip.Request{Model: m.Config.Name, ID: "warm-up"}
	for _, name := range sortedNames(w.Inputs) {
		in := w.Inputs[name]
		batch := 1
		shape := slices.Clone(in.Dims)
		if m.Config.MaxBatchSize > 0 {
			batch = int(max(1, w.BatchSize))
			shape = append([]int64{int64(batch)}, shape...)
		}
		item, err := warmItem(m, in)
		if err != nil {
			return nil, err
		}
		if len(item)*batch > maxWarmup {
			return nil, fault.New(fault.Invalid, "input '%s' has more than %d bytes", name, maxWarmup)
		}
		r.Inputs = append(r.Inputs, oip.Input{Name: name, DType: in.DataType.DType(), Shape: shape, Data: bytes.Repeat(item, batch)})
	}
	return r, nil
}

func sortedNames(inputs map[string]repository.WarmupInput) (names []string) {
	for name := range inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// warmItem is the content of one item of a batch: a file's bytes, zeros, or random values. Strings are
// empty unless they come from a file, which holds each behind its length in four bytes.
func warmItem(m *repository.Model, in repository.WarmupInput) ([]byte, error) {
	if in.InputDataFile != nil {
		return warmFile(m, *in.InputDataFile)
	}
	n, ok := oip.Elements(in.Dims)
	d := in.DataType.DType()
	size := max(d.Size(), 4) // an empty string is its length
	if d != tensor.Bytes {
		size = d.Size()
	}
	if !ok || size == 0 || n > maxWarmup/int64(size) {
		return nil, fault.New(fault.Invalid, "dims %v of %v are more than %d bytes", in.Dims, d, maxWarmup)
	}
	data := make([]byte, int(n)*size)
	if in.RandomData != nil && *in.RandomData && d != tensor.Bytes {
		fillRandom(data, d)
	}
	return data, nil
}

func warmFile(m *repository.Model, name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, fault.New(fault.Invalid, "input_data_file '%s' must stay within %s/", name, warmupDir)
	}
	return os.ReadFile(filepath.Join(m.Dir, warmupDir, name))
}

// fillRandom fills a tensor: floats of 32 and 64 bits from 0 to 1, all else with random bits, of which
// floats of 16 bits lose the highest of the exponent, so that all are below 2. It is the same each time.
func fillRandom(data []byte, d tensor.DType) {
	rng := rand.New(rand.NewPCG(1, 2))
	switch d {
	case tensor.FP32:
		for i := 0; i+4 <= len(data); i += 4 {
			binary.LittleEndian.PutUint32(data[i:], math.Float32bits(rng.Float32()))
		}
	case tensor.FP64:
		for i := 0; i+8 <= len(data); i += 8 {
			binary.LittleEndian.PutUint64(data[i:], math.Float64bits(rng.Float64()))
		}
	case tensor.Bool:
		for i := range data {
			data[i] = byte(rng.IntN(2))
		}
	case tensor.FP16, tensor.BF16:
		for i := 0; i+2 <= len(data); i += 2 {
			binary.LittleEndian.PutUint16(data[i:], uint16(rng.Uint32())&0xbfff)
		}
	default:
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
	}
}
