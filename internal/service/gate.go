package service

import (
	"context"
	"sync"
)

// gate counts the requests inside and can be closed to new ones.
type gate struct {
	mu     sync.Mutex
	count  int
	closed bool
	empty  chan struct{} // made by the first who waits, closed when the gate is closed and nobody inside
}

// enter lets a request in; false if the gate is closed.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.count++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.count == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed
}

func (g *gate) inside() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// wait returns once the closed gate has nobody inside, or with ctx's error.
func (g *gate) wait(ctx context.Context) error {
	empty := g.emptied()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// emptied is closed when the last request leaves; nil if nobody is inside.
func (g *gate) emptied() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count == 0 {
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	return g.empty
}
