//go:build unix

package safetensors

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(path string) ([]byte, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // the map outlives the descriptor
	size, err := statRegular(f)
	if err != nil {
		return nil, nil, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: mapping %d bytes: %w", path, size, err)
	}
	_ = unix.Madvise(data, unix.MADV_WILLNEED) // advice: a refusal costs time only
	return data, func() error { return unix.Munmap(data) }, nil
}
