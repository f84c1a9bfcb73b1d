package torch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// instance is a place for one batch: memory that it shares with a worker, and a supervisor that keeps a
// worker there.
type instance struct {
	number  int
	o       Options
	order   loadOrder
	weights *os.File
	shared  *os.File
	memory  []byte // inputs, then outputs from order.OutputOffset on
	begun   bool
	closing chan struct{} // no new worker is wanted, nor waited for
	stop    chan struct{} // the worker is not wanted any more
	ended   chan struct{} // the supervisor is through

	mu      sync.Mutex
	worker  *worker       // nil while there is none
	lost    error         // why there will be none
	changed chan struct{} // closed when either changes
}

func newInstance(number int, c model.Config, o Options, weights *os.File) (*instance, error) {
	inputs := o.MaxBatch * tensor.FormatFloat32CHW.Size(c.ImageSize, c.ImageSize)
	i := &instance{
		number: number, o: o, weights: weights,
		order: loadOrder{Source: o.source, Config: shapeOf(c), Device: o.Device, Precision: string(o.Precision),
			CPUPrecision: string(cpuPrecision()), Compile: o.Compile, Threads: max(1, o.Threads/o.Instances),
			MaxBatch: o.MaxBatch, Batches: o.planned(), OutputOffset: inputs},
		closing: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{}),
	}
	var err error
	if i.shared, err = memoryFile("vitrine-batch"); err != nil {
		return nil, err
	}
	if i.memory, err = mapShared(i.shared, inputs+4*o.MaxBatch*c.EmbedDim); err != nil {
		return nil, errors.Join(err, i.shared.Close())
	}
	return i, nil
}

// begin starts the first worker and tells what it is; that one's failure is final.
func (i *instance) begin() (answer, error) {
	type started struct {
		answer answer
		err    error
	}
	first := make(chan started, 1)
	go func() {
		// A worker is told to die when the thread that started it ends (PDEATHSIG): this one stays with the
		// supervisor, and ends with it.
		runtime.LockOSThread()
		defer close(i.ended)
		if err := i.o.Near.Stay(); err != nil { // workers inherit the thread's processors
			i.o.Logger.Warn("PyTorch workers may run far from their card", "place", i.o.Near, "error", err)
		}
		w, a, err := i.launch()
		if err == nil {
			i.put(w, nil)
		}
		first <- started{a, err}
		if err == nil {
			i.supervise(w)
		}
	}()
	s := <-first
	i.begun = s.err == nil
	return s.answer, s.err
}

// Restarts: at once, then after twice as long each time, until that many workers in turn died without an
// answer to a batch.
const (
	firstBackOff = time.Second
	longestOff   = 30 * time.Second
	mostFailures = 7
)

// supervise replaces workers that die until it is told to stop.
func (i *instance) supervise(w *worker) {
	failures := 0
	for {
		select {
		case <-w.exited:
		case <-i.stop:
			w.end()
			return
		}
		if w.served.Load() {
			failures = 0
		}
		i.put(nil, nil)
		i.o.Logger.Error("the PyTorch worker died", "worker", i.number, "how", w.fate(), "output", w.output.last())
		if w = i.replace(&failures); w == nil {
			return
		}
		i.put(w, nil)
		i.o.Logger.Info("the PyTorch worker was replaced", "worker", i.number)
	}
}

// replace starts workers until one is ready; nil is none, for good.
func (i *instance) replace(failures *int) *worker {
	for {
		*failures++
		if *failures > mostFailures {
			i.put(nil, fmt.Errorf("%d PyTorch workers in turn died or did not start", *failures))
			return nil
		}
		select {
		case <-time.After(i.o.backOff(*failures)):
		case <-i.closing:
			return nil
		}
		w, _, err := i.launch()
		if err == nil {
			return w
		}
		i.o.Logger.Error("no PyTorch worker could be started", "worker", i.number, "failures", *failures, "reason", err)
	}
}

func backOff(failures int) time.Duration {
	if failures < 2 {
		return 0
	}
	return min(longestOff, firstBackOff<<(failures-2))
}

// launch starts a worker and has it load the model.
func (i *instance) launch() (*worker, answer, error) {
	w, err := startWorker(i.o, i.number, i.shared, i.weights)
	if err != nil {
		return nil, answer{}, err
	}
	go func() {
		select {
		case <-i.closing: // whoever waits for the model waits in vain
			if !w.loaded.Load() {
				w.kill()
			}
		case <-w.exited:
		}
	}()
	a, err := w.exchange(i.order, i.o.StartTimeout)
	switch {
	case err != nil:
		err = fmt.Errorf("%s did not start as a worker: %w%s", i.o.Python, err, w.output.quoted())
	case a.Kind == noTorch:
		err = fmt.Errorf("%s has no torch (%s): install it with `%s -m pip install torch`, or name a Python that has it with --torch-python",
			i.o.Python, a.Error, i.o.Python)
	case !a.OK:
		err = errors.New(a.Error)
	default:
		w.loaded.Store(true)
		return w, a, nil
	}
	w.kill()
	<-w.exited
	return nil, a, err
}

// put says what there is now.
func (i *instance) put(w *worker, lost error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.worker, i.lost = w, lost
	close(i.changed)
	i.changed = make(chan struct{})
}

// live is a worker, waiting for one that is being started.
func (i *instance) live(ctx context.Context) (*worker, error) {
	for {
		i.mu.Lock()
		w, lost, changed := i.worker, i.lost, i.changed
		i.mu.Unlock()
		switch {
		case lost != nil:
			return nil, fault.Wrap(fault.Unavailable, lost, "PyTorch is lost")
		case w != nil && w.alive():
			return w, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-i.closing:
			return nil, engine.ErrClosed()
		}
	}
}

// run computes a batch; release is called when the instance is free again, which may be later.
func (i *instance) run(ctx context.Context, rows []tensor.Row, out [][]float32, profiled bool, release func()) (answer, error) {
	w, err := i.live(ctx)
	if err != nil {
		release()
		return answer{}, err
	}
	began := time.Now()
	i.gather(rows)
	gathered := time.Since(began)
	result := make(chan computed, 1)
	order := runOrder{Rows: len(rows), Format: formatNames[rows[0].Format()], Profile: profiled}
	go func() { result <- w.compute(order, i.o.BatchTimeout) }()
	select {
	case <-ctx.Done():
		go func() { <-result; release() }()
		return answer{}, ctx.Err()
	case c := <-result:
		defer release()
		if c.err != nil {
			return answer{}, c.err
		}
		began = time.Now()
		i.scatter(out)
		c.Input += gathered
		c.Output += time.Since(began)
		return c.answer, nil
	}
}

// gather puts rows one behind the other where the worker reads them.
func (i *instance) gather(rows []tensor.Row) {
	at := i.memory
	for _, r := range rows {
		at = at[copy(at, r.Bytes()):]
	}
}

// scatter takes the embeddings from where the worker wrote them.
func (i *instance) scatter(out [][]float32) {
	at := tensor.Float32s(i.memory[i.order.OutputOffset:])
	for _, o := range out {
		at = at[copy(o, at):]
	}
}

// close ends the worker and frees the memory. No run is under way.
func (i *instance) close() error {
	close(i.stop)
	<-i.ended
	return errors.Join(unmap(i.memory), i.shared.Close())
}
