package webp

import (
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/decodetest"
)

func FuzzDecode(f *testing.F) {
	decodetest.Fuzz(f, "../testdata/images/*.webp", func(data []byte) (decodetest.Header, error) {
		c, err := ReadConfig(data)
		return decodetest.Header{Width: c.Width, Height: c.Height, Mode: c.Mode}, err
	}, Decode)
}
