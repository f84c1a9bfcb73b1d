//go:build !linux

package torch

import (
	"errors"
	"os"
)

// errSystem is what an engine on another system fails with.
var errSystem = errors.New("the PyTorch engine needs Linux: it shares memory with its worker by memfd")

func startWorker(Options, int, *os.File, *os.File) (*worker, error) { return nil, errSystem }

func killGroup(int) {}

func memoryFile(string) (*os.File, error) { return nil, errSystem }

func mapShared(*os.File, int) ([]byte, error) { return nil, errSystem }

func unmap([]byte) error { return nil }
