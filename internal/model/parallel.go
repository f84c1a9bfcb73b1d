package model

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vitrine-project/vitrine/internal/model/safetensors"
)

// parallel calls work(0) to work(n-1) on all processors and returns one of the errors. Reads of a
// mapped file that shrank are errors too.
func parallel(n int, work func(i int) error) error {
	var next atomic.Int64
	var once sync.Once
	var first error
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			err := safetensors.Guard(func() error {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					if err := work(i); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}
