package link

import (
	"net"
	"time"
)

const (
	// chunk is the most that is handled as one piece; a rate makes it smaller, down to a segment.
	chunk = 16 << 10
	// piece is how long one piece occupies the lane at most.
	piece = time.Millisecond
	// ahead is how far a sender may run before the lane: more than a sleep may be late, so that the lane
	// never stands still while there is something to send.
	ahead = 5 * time.Millisecond
	// inFlight is how many pieces may be on their way: 64 MiB, a second at 500 Mbit/s.
	inFlight = 4096
	// idleBase and a round trip are how long a window survives without use: Linux' smallest
	// retransmission timeout.
	idleBase = 200 * time.Millisecond
)

// packet is a piece on its way; none is the end of the stream.
type packet struct {
	data []byte
	at   time.Time // of arrival
}

// flow is one direction of one connection.
type flow struct {
	link   *Link
	lane   *lane
	size   int // of a piece
	last   time.Time
	window window
}

func (l *Link) newFlow(lane *lane) *flow {
	f := &flow{link: l, lane: lane, size: chunk}
	if l.Bandwidth > 0 {
		f.size = min(chunk, max(segment, int(l.Bandwidth/8*piece.Seconds())))
	}
	f.window = window{initial: l.Window * segment, restart: idleBase + l.RTT}
	return f
}

// run moves bytes from src to dst until src ends, and then ends dst. A client that cannot close one
// direction alone has closed both.
func (f *flow) run(dst, src net.Conn) {
	packets := make(chan packet, inFlight)
	arrived := make(chan struct{})
	go func() {
		defer close(arrived)
		deliver(dst, packets)
		_, halves := src.(interface{ CloseWrite() error })
		if end, ok := dst.(interface{ CloseWrite() error }); ok && halves {
			_ = end.CloseWrite() // a connection that is gone needs no end
			return
		}
		_ = dst.Close() // likewise
	}()
	f.take(src, packets)
	close(packets)
	<-arrived
}

// take reads what is sent and puts it on its way.
func (f *flow) take(src net.Conn, packets chan<- packet) {
	for {
		b := make([]byte, f.size)
		n, err := src.Read(b)
		for b = b[:n]; len(b) > 0; {
			m := f.window.open(len(b))
			sent := f.lane.send(f.link.takes(m))
			at := sent.Add(f.link.jittered())
			if at.Before(f.last) {
				at = f.last
			}
			f.last = at
			f.window.sent(m, at.Add(f.link.RTT/2))
			packets <- packet{b[:m], at}
			b = b[m:]
			time.Sleep(time.Until(sent) - ahead)
		}
		if err != nil {
			packets <- packet{at: later(time.Now().Add(f.link.RTT/2), f.last)}
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// deliver writes each packet when it arrives. After an error the rest is thrown away.
func deliver(dst net.Conn, packets <-chan packet) {
	var err error
	for p := range packets {
		if err != nil {
			continue
		}
		time.Sleep(time.Until(p.at))
		if len(p.data) > 0 {
			_, err = dst.Write(p.data)
		}
		if err != nil {
			_ = dst.Close() // so that the other direction ends too
		}
	}
}

// window is TCP's congestion window while nothing is lost: slow start, one byte more for each byte that is
// acknowledged (RFC 5681, 3.1). Without an initial window it is always open.
type window struct {
	initial int // bytes; 0 is no window
	restart time.Duration
	size    int
	flying  int
	acks    []ack
	last    time.Time // acknowledgement
}

type ack struct {
	at    time.Time
	bytes int
}

// open waits until something may be sent and returns how much, n at most.
func (w *window) open(n int) int {
	if w.initial == 0 {
		return n
	}
	w.settle()
	for w.flying >= w.size {
		time.Sleep(time.Until(w.acks[0].at))
		w.settle()
	}
	return min(n, w.size-w.flying)
}

// settle takes the acknowledgements that have arrived.
func (w *window) settle() {
	now := time.Now()
	if w.size == 0 {
		w.size = w.initial
	}
	for len(w.acks) > 0 && !w.acks[0].at.After(now) {
		w.last = w.acks[0].at
		w.flying -= w.acks[0].bytes
		w.size += w.acks[0].bytes
		w.acks = w.acks[1:]
	}
	if w.flying == 0 && now.Sub(w.last) > w.restart {
		w.size = w.initial
	}
}

func (w *window) sent(n int, acked time.Time) {
	if w.initial == 0 {
		return
	}
	w.flying += n
	w.acks = append(w.acks, ack{acked, n})
}
