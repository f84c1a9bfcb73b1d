package kernel

import (
	"syscall"
	"unsafe"
)

// adviseHuge asks for huge pages behind b, which nobody has written to yet: weights are read in long
// runs, and the prefetcher stops at the end of a page. Where the system refuses nothing is lost.
func adviseHuge(b []float32) {
	const page = 2 << 20
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	skip := (page - start%page) % page
	size := uintptr(len(b)) * 4
	if size < skip+page {
		return
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), size)
	const advice = 14 // MADV_HUGEPAGE
	_ = syscall.Madvise(bytes[skip:skip+(size-skip)/page*page], advice)
}
