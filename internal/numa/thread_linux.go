package numa

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// Stay keeps the calling thread, which its goroutine must have locked, on the processors of the place that
// it may use. Threads and processes that it starts later stay there too. It changes nothing where none of
// them is near or all are.
func (p Place) Stay() error {
	_, err := p.move()
	return err
}

// During calls f on a thread that stays near the place for as long, so that memory that the kernel finds for
// it is near. f's own error comes first.
func (p Place) During(f func() error) error {
	if len(p.Processors) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := p.move()
	if err != nil || before == nil {
		return f() // near or not, the memory serves
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, before))
}

// move narrows the calling thread's processors to the near ones. before is what it could use, nil if
// nothing changed.
func (p Place) move() (before *unix.CPUSet, err error) {
	var may, near unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return nil, err
	}
	for _, n := range p.Processors {
		if may.IsSet(n) {
			near.Set(n)
		}
	}
	if n := near.Count(); n == 0 || n == may.Count() {
		return nil, nil
	}
	return &may, unix.SchedSetaffinity(0, &near)
}
