//go:build unix

package resize

import (
	"syscall"
	"testing"

	"github.com/vitrine-project/vitrine/internal/preproc/raster"
)

// atPageEnd moves an image's pixels to the end of a page that memory without access follows, so that a
// read behind them ends the test.
func atPageEnd(t *testing.T, im *raster.Image) *raster.Image {
	t.Helper()
	page := syscall.Getpagesize()
	n := (len(im.Pix) + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, n+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mprotect(mem[n:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	end := mem[n-len(im.Pix) : n : n]
	copy(end, im.Pix)
	im.Pix = end
	return im
}
