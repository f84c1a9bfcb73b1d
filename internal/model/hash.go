package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// hash computes WeightsHash: SHA-256 over one line of what no tensor shows and the SHA-256 digest of
// every parameter in canonical order, each over name, type, shape and little-endian bytes. The digests
// are independent of each other, so they are computed in parallel.
func (m *Model) hash() (string, error) {
	tensors := m.Tensors()
	digests := make([][sha256.Size]byte, len(tensors))
	err := parallel(len(tensors), func(i int) error {
		digests[i] = tensors[i].digest()
		return nil
	})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	c := m.Config
	fmt.Fprintf(h, "vitrine weights 1\nactivation=%s heads=%d epsilon=%s\n",
		c.Activation, c.Heads, strconv.FormatFloat(float64(c.Epsilon), 'g', -1, 32))
	for i := range digests {
		h.Write(digests[i][:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func (t Tensor) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %v\n", t.Name, t.DType, t.Shape)
	h.Write(t.Data)
	h.Sum(sum[:0])
	return sum
}

// SpaceID names a vector space: embeddings are comparable if their preprocessing, weights and
// precision class are equal. It is short enough to print: "vsp1-" and 16 hexadecimal digits.
func SpaceID(planHash, weightsHash, precision string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "vitrine space 1\n%s\n%s\n%s\n", planHash, weightsHash, precision))
	return "vsp1-" + hex.EncodeToString(sum[:8])
}
