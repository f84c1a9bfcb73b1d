package jpeg

import (
	"errors"
	"fmt"
	"sync"

	"github.com/vitrine-project/vitrine/internal/dynlib"
	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// Pixel formats and flags of the TurboJPEG 2 API (turbojpeg.h), which version 3 keeps.
const (
	tjpfRGB  = 0
	tjpfGrey = 6
	tjpfCMYK = 11

	tjFlagAccurateDCT   = 4096  // islow; upsampling is fancy unless asked otherwise
	tjFlagStopOnWarning = 8192  // damaged data is an error at once
	tjFlagLimitScans    = 32768 // at most 500 scans
)

// TurboLib is a loaded libturbojpeg with its decompressor handles. A handle belongs to one decode at a
// time; there are as many as decodes ever overlapped.
type TurboLib struct {
	lib  *dynlib.Library
	mu   sync.Mutex
	free []uintptr

	initDecompress func() uintptr
	decompress     func(h uintptr, data *byte, size uint64, dst *byte, width, pitch, height, format, flags int32) int32
	errorStr       func(h uintptr) string
}

// turboNames are tried in turn: the name of versions 1.2 to 3 everywhere, then a development link.
var turboNames = []string{"libturbojpeg.so.0", "libturbojpeg.so"}

// Turbo loads libturbojpeg once for the process.
var Turbo = sync.OnceValues(func() (*TurboLib, error) { return loadTurbo(turboNames...) })

// loadTurbo opens the library and binds what this package calls.
func loadTurbo(names ...string) (*TurboLib, error) {
	lib, err := dynlib.Open(names...)
	if err != nil {
		return nil, err
	}
	t := &TurboLib{lib: lib}
	err = errors.Join(
		lib.Bind(&t.initDecompress, "tjInitDecompress"),
		lib.Bind(&t.decompress, "tjDecompress2"),
		lib.Bind(&t.errorStr, "tjGetErrorStr2"),
	)
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	return t, nil
}

// decode fills dst, which has the image's mode and size already.
func (t *TurboLib) decode(data []byte, dst *raster.Image) error {
	h, err := t.take()
	if err != nil {
		return err
	}
	defer t.give(h)
	format := int32(tjpfRGB)
	switch dst.Mode {
	case raster.L:
		format = tjpfGrey
	case raster.CMYK:
		format = tjpfCMYK
	}
	const flags = tjFlagAccurateDCT | tjFlagStopOnWarning | tjFlagLimitScans
	rc := t.decompress(h, &data[0], uint64(len(data)), &dst.Pix[0],
		int32(dst.Width), 0, int32(dst.Height), format, flags)
	if rc != 0 {
		return fmt.Errorf("libjpeg-turbo: %s", t.errorStr(h))
	}
	if dst.Mode == raster.CMYK {
		invert(dst.Pix)
	}
	return nil
}

// invert turns Adobe's inks into Pillow's.
func invert(pix []byte) {
	for i, v := range pix {
		pix[i] = ^v
	}
}

// take is a free decompressor, a new one if all are busy.
func (t *TurboLib) take() (uintptr, error) {
	t.mu.Lock()
	if n := len(t.free); n > 0 {
		h := t.free[n-1]
		t.free = t.free[:n-1]
		t.mu.Unlock()
		return h, nil
	}
	t.mu.Unlock()
	h := t.initDecompress()
	if h == 0 {
		return 0, errors.New("libjpeg-turbo: no memory for a decompressor")
	}
	return h, nil
}

// give returns a decompressor.
func (t *TurboLib) give(h uintptr) {
	t.mu.Lock()
	t.free = append(t.free, h)
	t.mu.Unlock()
}
