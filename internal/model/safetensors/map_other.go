//go:build !unix

package safetensors

import (
	"io"
	"os"
)

// mapFile reads the file where there is no mmap.
func mapFile(path string) ([]byte, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size, err := statRegular(f)
	if err != nil {
		return nil, nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, err
	}
	return data, func() error { return nil }, nil
}
