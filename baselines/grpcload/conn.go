package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	method = "/inference.GRPCInferenceService/ModelInfer"

	headLen     = 9       // of a frame's header
	firstWindow = 65535   // of both directions, until they are told otherwise
	firstFrame  = 16384   // likewise, bytes of a frame's payload
	window      = 1 << 30 // that a server may send unacknowledged
	readBuffer  = 32 << 10
)

// prefixed is a message as gRPC sends it: not compressed, its length, itself.
func prefixed(message []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(b, message...)
}

// conn is an HTTP/2 connection that sends one request again and again, one at a time. It is used by one
// goroutine. Connections share the message.
type conn struct {
	socket         net.Conn
	sent, received int64 // bytes, HTTP/2's framing included
	in             *bufio.Reader
	framer         *http2.Framer
	decoder        *hpack.Decoder
	block          bytes.Buffer // a request's header block
	encoder        *hpack.Encoder
	fields         []hpack.HeaderField
	message        []byte

	settled       bool  // the server's settings have come
	maxFrame      int   // bytes of payload that the server takes in one frame
	initialWindow int64 // of a stream
	window        int64 // bytes that may be sent on the connection now
	streamWindow  int64 // and on the stream
	owed          int64 // bytes received for which the server's window was not opened again
	closing       error // the server takes no further streams

	heads []byte // of the frames to be sent
	out   net.Buffers

	stream   uint32
	answer   answer
	expected int // bytes of an answer: as many as the first had
}

// answer is what has come of the answer to the request under way.
type answer struct {
	status, grpcStatus, grpcMessage string
	prefix                          [5]byte // of the message
	size                            int     // of the message and its prefix
	ending, done                    bool
}

// refusal is an answer that is an error; the connection is well.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// newConn greets the server and waits for its settings.
func newConn(socket net.Conn, authority string, message []byte) (*conn, error) {
	c := &conn{socket: socket, message: message, maxFrame: firstFrame, initialWindow: firstWindow, window: firstWindow}
	c.in = bufio.NewReaderSize(reader{c}, readBuffer)
	c.framer = http2.NewFramer(writer{c}, c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(firstFrame)
	c.decoder = hpack.NewDecoder(4096, c.field)
	c.encoder = hpack.NewEncoder(&c.block)
	c.fields = []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}, {Name: ":authority", Value: authority},
		{Name: "content-type", Value: "application/grpc"}, {Name: "user-agent", Value: "grpcload"}, {Name: "te", Value: "trailers"},
	}
	if _, err := io.WriteString(writer{c}, http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		return nil, err
	}
	if err := c.framer.WriteWindowUpdate(0, window-firstWindow); err != nil {
		return nil, err
	}
	for !c.settled {
		if err := c.next(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// reader and writer count what goes over a connection.
type (
	reader struct{ *conn }
	writer struct{ *conn }
)

func (r reader) Read(b []byte) (int, error) {
	n, err := r.socket.Read(b)
	r.received += int64(n)
	return n, err
}

func (w writer) Write(b []byte) (int, error) {
	n, err := w.socket.Write(b)
	w.sent += int64(n)
	return n, err
}

// call sends the request and waits for the end of its answer.
func (c *conn) call() error {
	if c.closing != nil {
		return c.closing
	}
	if c.stream == 0 {
		c.stream = 1
	} else {
		c.stream += 2
	}
	c.streamWindow, c.answer = c.initialWindow, answer{}
	if err := c.send(); err != nil {
		return err
	}
	for !c.answer.done {
		if err := c.next(); err != nil {
			return err
		}
	}
	return c.check()
}

// send writes the request: at once where both windows are open wide enough, else as they open.
func (c *conn) send() error {
	c.block.Reset()
	for _, f := range c.fields {
		if err := c.encoder.WriteField(f); err != nil {
			return err
		}
	}
	c.begin()
	c.frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.block.Bytes())
	rest := c.message
	for {
		n := max(0, min(int64(len(rest)), c.window, c.streamWindow))
		c.data(rest[:n], n == int64(len(rest)))
		if err := c.flush(); err != nil {
			return err
		}
		if rest = rest[n:]; len(rest) == 0 {
			return nil
		}
		if err := c.wait(); err != nil {
			return err
		}
		if c.answer.done { // before the server had the request: it does not want the rest
			return c.framer.WriteRSTStream(c.stream, http2.ErrCodeCancel)
		}
		c.begin()
	}
}

// wait reads a frame, and those that came with it: windows are opened by twos.
func (c *conn) wait() error {
	err := c.next()
	for err == nil && c.in.Buffered() >= headLen && !c.answer.done {
		err = c.next()
	}
	return err
}

// begin makes room for the frames of a flush.
func (c *conn) begin() {
	c.heads = slices.Grow(c.heads[:0], headLen*(2+len(c.message)/c.maxFrame))
	c.out = c.out[:0]
}

// frame adds a frame to those to be sent. Its payload must stay as it is until then.
func (c *conn) frame(kind http2.FrameType, flags http2.Flags, payload []byte) {
	start, n := len(c.heads), len(payload)
	c.heads = append(c.heads, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	c.heads = binary.BigEndian.AppendUint32(c.heads, c.stream)
	c.out = append(c.out, c.heads[start:], payload)
}

// data adds DATA frames, as large as the server takes them; last says that the request ends with them.
func (c *conn) data(b []byte, last bool) {
	c.window -= int64(len(b))
	c.streamWindow -= int64(len(b))
	for len(b) > 0 {
		n := min(len(b), c.maxFrame)
		var flags http2.Flags
		if last && n == len(b) {
			flags = http2.FlagDataEndStream
		}
		c.frame(http2.FrameData, flags, b[:n])
		b = b[n:]
	}
}

// flush sends the frames that were added.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	all := c.out // WriteTo forgets what it has written
	n, err := c.out.WriteTo(c.socket)
	c.sent += n
	c.out = all
	return err
}

// next reads a frame and does what it asks.
func (c *conn) next() error {
	f, err := c.framer.ReadFrame()
	if err != nil {
		return fmt.Errorf("reading a frame: %w", err)
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.body(f)
	case *http2.HeadersFrame:
		c.answer.ending = c.answer.ending || f.StreamEnded()
		return c.headers(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.ContinuationFrame:
		return c.headers(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		switch f.StreamID {
		case 0:
			c.window += int64(f.Increment)
		case c.stream:
			c.streamWindow += int64(f.Increment)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		if f.StreamID == c.stream && !c.answer.done {
			return fmt.Errorf("the server reset the stream: %v", f.ErrCode)
		}
	case *http2.GoAwayFrame:
		c.closing = fmt.Errorf("the server closes the connection: %v %s", f.ErrCode, f.DebugData())
		if f.LastStreamID < c.stream {
			return c.closing
		}
	}
	return nil
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.settled = true
	if v, ok := f.Value(http2.SettingMaxFrameSize); ok {
		c.maxFrame = int(v)
	}
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		c.streamWindow += int64(v) - c.initialWindow
		c.initialWindow = int64(v)
	}
	if v, ok := f.Value(http2.SettingHeaderTableSize); ok {
		c.encoder.SetMaxDynamicTableSizeLimit(v)
	}
	return c.framer.WriteSettingsAck()
}

// headers reads a part of a header block.
func (c *conn) headers(fragment []byte, last bool) error {
	if _, err := c.decoder.Write(fragment); err != nil {
		return err
	}
	if !last {
		return nil
	}
	c.answer.done = c.answer.ending
	return c.decoder.Close()
}

// field takes a header or trailer over.
func (c *conn) field(f hpack.HeaderField) {
	switch f.Name {
	case ":status":
		c.answer.status = f.Value
	case "grpc-status":
		c.answer.grpcStatus = f.Value
	case "grpc-message":
		c.answer.grpcMessage = f.Value
	}
}

// body takes a part of the answer's message, and opens the server's window again once half of it is used.
func (c *conn) body(f *http2.DataFrame) error {
	if b := f.Data(); f.StreamID == c.stream {
		if c.answer.size < len(c.answer.prefix) {
			copy(c.answer.prefix[c.answer.size:], b)
		}
		c.answer.size += len(b)
		c.answer.done = c.answer.done || f.StreamEnded()
	}
	if c.owed += int64(f.Length); c.owed < window/2 {
		return nil
	}
	n := c.owed
	c.owed = 0
	return c.framer.WriteWindowUpdate(0, uint32(n))
}

// check says what is wrong with the answer.
func (c *conn) check() error {
	a := &c.answer
	switch {
	case a.status != "200":
		return &refusal{fmt.Sprintf("HTTP status %q", a.status)}
	case a.grpcStatus != "0":
		return &refusal{fmt.Sprintf("gRPC status %q: %s", a.grpcStatus, a.grpcMessage)}
	case a.size < len(a.prefix) || a.prefix[0] != 0 || int64(binary.BigEndian.Uint32(a.prefix[1:])) != int64(a.size-len(a.prefix)):
		return &refusal{fmt.Sprintf("a message of %d bytes with the prefix %v", a.size, a.prefix)}
	case c.expected != 0 && a.size != c.expected:
		return &refusal{fmt.Sprintf("an answer of %d bytes, and the first had %d", a.size, c.expected)}
	}
	c.expected = a.size
	return nil
}
