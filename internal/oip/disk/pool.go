package disk

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/vitrine-project/vitrine/internal/fault"
)

// pool holds the plants by what they are made of, so that models that share one get the same.
type pool struct {
	threads *semaphore.Weighted

	mu     sync.Mutex
	plants map[string]*pooled
}

// pooled is a plant and how many hold it. made is closed when it is there or has failed.
type pooled struct {
	key   string
	users int
	made  chan struct{}
	plant Plant
	err   error
}

func newPool(threads int) *pool {
	return &pool{threads: semaphore.NewWeighted(int64(threads)), plants: map[string]*pooled{}}
}

// share is one holder's part of a plant.
type share struct {
	of   Plant
	pool *pool
	in   *pooled
	once sync.Once
	err  error
}

// get returns a share of the plant of that key, which is made where there is none.
func (p *pool) get(ctx context.Context, key string, build func(ctx context.Context) (Plant, error)) (*share, error) {
	p.mu.Lock()
	in := p.plants[key]
	first := in == nil
	if first {
		in = &pooled{key: key, made: make(chan struct{})}
		p.plants[key] = in
	}
	in.users++
	p.mu.Unlock()
	if first {
		in.plant, in.err = p.make(ctx, build)
		if in.err != nil {
			p.forget(in)
		}
		close(in.made)
	}
	select {
	case <-in.made:
	case <-ctx.Done():
		_ = p.leave(in) // whoever makes it has a share too
		return nil, fault.Of(ctx.Err())
	}
	if in.err != nil {
		return nil, in.err
	}
	return &share{of: in.plant, pool: p, in: in}, nil
}

// make makes a plant, a bounded number at a time.
func (p *pool) make(ctx context.Context, build func(ctx context.Context) (Plant, error)) (Plant, error) {
	if err := p.threads.Acquire(ctx, 1); err != nil {
		return nil, fault.Of(err)
	}
	defer p.threads.Release(1)
	return build(ctx)
}

func (p *pool) forget(in *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.plants, in.key)
}

// close gives the share back; the last one closes the plant.
func (s *share) close() error {
	s.once.Do(func() { s.err = s.pool.leave(s.in) })
	return s.err
}

func (p *pool) leave(in *pooled) error {
	p.mu.Lock()
	in.users--
	last := in.users == 0
	if last && p.plants[in.key] == in {
		delete(p.plants, in.key)
	}
	p.mu.Unlock()
	if !last || in.plant == nil {
		return nil
	}
	return in.plant.Close()
}
