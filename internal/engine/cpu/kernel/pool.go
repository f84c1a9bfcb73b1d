package kernel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// spins is how often an idle worker yields and looks for work before it sleeps. Operators of a forward
// pass follow each other within microseconds, and waking a sleeping thread costs more than that. Ten and
// forty times as many left the best time of a forward pass as it was (interleaved runs, batch 1, bfloat16) and,
// where other programs want the processors, lengthened its median by 12 % and 27 %.
const spins = 100

// Pool is a fixed number of worker goroutines that several callers share. Calls of Run may overlap:
// their parts wait in one queue, so that no more than Threads of them ever run at once.
type Pool struct {
	scratch [][]float32 // by worker

	mu      sync.Mutex
	wake    sync.Cond
	queue   []*job
	pending atomic.Int32 // length of queue, for workers that spin
	free    []*job
	muls    []*mul
	buffers [][]float32
	closed  bool
	workers sync.WaitGroup
}

// NewPool starts threads workers; 0 or less means one for each processor that Go may use.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{scratch: make([][]float32, threads)}
	p.wake.L = &p.mu
	for w := range threads {
		p.workers.Go(func() { p.work(w) })
	}
	return p
}

// Threads is the number of workers.
func (p *Pool) Threads() int { return len(p.scratch) }

// Close stops the workers once all calls of Run have returned. A second Close does nothing; Run after
// Close panics.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}

// Scratch is worker's own memory: at least n floats, aligned to 64 bytes, content undefined. It is for
// the part that the worker is running and valid until the next Scratch of that worker.
func (p *Pool) Scratch(worker, n int) []float32 {
	if cap(p.scratch[worker]) < n {
		p.scratch[worker] = alignedFloats(n)
	}
	return p.scratch[worker][:n]
}

// Run calls f(0, w) ... f(n-1, w), each once and in no fixed order, on the workers w, and returns when
// all have returned. Parts are claimed in ascending order: when part i starts, every part before it
// has run, runs or is about to, so that a part may wait for one before it. f must not call Run, which
// could wait for itself. A panic of f is raised again here, after the parts that were already running.
func (p *Pool) Run(n int, f func(part, worker int)) {
	if n <= 0 {
		return
	}
	j := p.submit(n, f)
	<-j.done
	failure := j.failure
	j.f, j.failure = nil, nil
	p.mu.Lock()
	p.free = append(p.free, j)
	p.mu.Unlock()
	if failure != nil {
		panic(fmt.Sprintf("kernel: worker: %v", failure))
	}
}

func (p *Pool) submit(n int, f func(part, worker int)) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		panic("kernel: Run on a closed pool")
	}
	j := p.newJob()
	j.n, j.f = int64(n), f
	j.next.Store(0)
	p.queue = append(p.queue, j)
	p.pending.Store(int32(len(p.queue)))
	if n == 1 {
		p.wake.Signal()
	} else {
		p.wake.Broadcast()
	}
	return j
}

func (p *Pool) newJob() *job {
	if l := len(p.free); l > 0 {
		j := p.free[l-1]
		p.free = p.free[:l-1]
		return j
	}
	return &job{done: make(chan struct{}, 1)}
}

// job is one call of Run. It ends when its parts are used up and the last worker has left it, so that
// no worker still looks at a job that is reused.
type job struct {
	f       func(part, worker int)
	n       int64
	next    atomic.Int64
	done    chan struct{}
	workers int // inside it; guarded by Pool.mu
	failure any // of the first part that panicked; guarded by Pool.mu
}

func (p *Pool) work(worker int) {
	for {
		j := p.join()
		if j == nil {
			return
		}
		failure := j.drain(worker)
		p.leave(j, failure)
	}
}

// join waits for a job and enters it; it returns nil when the pool is closed and idle.
func (p *Pool) join() *job {
	for range spins {
		if p.pending.Load() > 0 {
			break
		}
		runtime.Gosched()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil
		}
		p.wake.Wait()
	}
	j := p.queue[0]
	j.workers++
	return j
}

// drain runs parts until none is left. After a panic the job's remaining parts are dropped.
func (j *job) drain(worker int) (failure any) {
	defer func() {
		if failure = recover(); failure != nil {
			j.next.Store(j.n)
		}
	}()
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return nil
		}
		j.f(int(i), worker)
	}
}

func (p *Pool) leave(j *job, failure any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if failure != nil && j.failure == nil {
		j.failure = failure
	}
	for i, q := range p.queue {
		if q == j {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.pending.Store(int32(len(p.queue)))
			break
		}
	}
	if j.workers--; j.workers == 0 {
		j.done <- struct{}{}
	}
}

// buffer lends n aligned floats for one operator call, which gives them back by release.
func (p *Pool) buffer(n int) []float32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := len(p.buffers); l > 0 {
		b := p.buffers[l-1]
		p.buffers = p.buffers[:l-1]
		if cap(b) >= n {
			return b[:n]
		}
	}
	return alignedFloats(n)
}

func (p *Pool) release(b []float32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buffers = append(p.buffers, b)
}
