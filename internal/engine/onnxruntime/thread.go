package onnxruntime

import (
	"runtime"
	"sync"
)

// owner is the thread on which sessions of OpenVINO are made and freed. Its processor plug-in gives the
// thread that loads it another signal stack, and unmaps that when it is unloaded, on whichever thread that
// happens: a thread of Go's that keeps the unmapped stack dies of the next signal, and Go signals its
// threads all the time. On one thread the plug-in restores what it found.
var owner = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// onOwner calls f where sessions of the provider may be made and freed.
func (p Provider) onOwner(f func()) {
	if p != OpenVINO {
		f()
		return
	}
	done := make(chan struct{})
	owner() <- func() {
		defer close(done)
		f()
	}
	<-done
}
