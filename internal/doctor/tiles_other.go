//go:build !linux || !amd64

package doctor

import "errors"

func requestTiles() error { return errors.ErrUnsupported }
