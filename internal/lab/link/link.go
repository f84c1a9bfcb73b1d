package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Link is a network; all connections through it share its rate.
type Link struct {
	Spec
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	up, down lane
	mu       sync.Mutex
	rng      *rand.Rand
}

// Parse returns the network that a specification describes.
func Parse(spec string) (*Link, error) {
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	return New(s), nil
}

// New returns a network. Its jitter is the same sequence each time.
func New(s Spec) *Link {
	return &Link{Spec: s, dial: new(net.Dialer).DialContext, rng: rand.New(rand.NewPCG(1, 2))}
}

// lane is one direction: when it has sent what it was given.
type lane struct {
	mu   sync.Mutex
	busy time.Time
}

// send takes the lane for a time and returns when that is over.
func (l *lane) send(takes time.Duration) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.busy.Before(now) {
		l.busy = now
	}
	l.busy = l.busy.Add(takes)
	return l.busy
}

// jittered is one way's delay.
func (l *Link) jittered() time.Duration {
	if l.Jitter == 0 {
		return l.RTT / 2
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.RTT/2 + time.Duration(l.rng.Int64N(int64(l.Jitter)+1))
}

// takes is how long n bytes occupy a lane.
func (l *Link) takes(n int) time.Duration {
	if l.Bandwidth == 0 {
		return 0
	}
	return time.Duration(float64(n) * 8 / l.Bandwidth * float64(time.Second))
}

// Dial connects to a server through the link. Connecting costs a round trip, as TCP's handshake does.
func (l *Link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	far, err := l.dial(ctx, network, address)
	if err != nil || l.Spec == (Spec{}) {
		return far, err
	}
	if err := sleep(ctx, l.jittered()+l.jittered()); err != nil {
		return nil, errors.Join(err, far.Close())
	}
	near, inner := net.Pipe()
	go l.carry(inner, far)
	return near, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Proxy forwards the connections of ln to a server through the link until ctx ends; then it closes ln and
// all connections and returns nil. Clients are connected at once, so the handshake's round trip passes
// before their first byte is taken.
func (l *Link) Proxy(ctx context.Context, ln net.Listener, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // Accept tells
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		near, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			cancel()
			return err
		}
		all.Go(func() { l.forward(ctx, near, to) })
	}
}

func (l *Link) forward(ctx context.Context, near net.Conn, to string) {
	defer near.Close()
	far, err := l.dial(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	if sleep(ctx, l.jittered()+l.jittered()) != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() }) // ends both ways
	defer stop()
	l.carry(near, far)
}

// carry moves both ways between the client and the server until both have ended.
func (l *Link) carry(near, far net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { l.newFlow(&l.up).run(far, near) })
	both.Go(func() { l.newFlow(&l.down).run(near, far) })
	both.Wait()
	_, _ = near.Close(), far.Close() // what had to arrive has arrived
}
