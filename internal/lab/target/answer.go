package target

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// Limits of what a server may answer.
const (
	maxHead = 64 << 10
	maxBody = 256 << 20
)

// head is what the client needs of an answer's status line and headers (RFC 9112).
type head struct {
	size    int // bytes, the empty line included
	status  int
	length  int // of the body; -1: chunked, or up to the end of the connection
	chunked bool
	close   bool // the connection ends after the body
	json    int  // Inference-Header-Content-Length; -1 without one
	server  record.ServerTiming
}

var (
	errIncomplete = errors.New("the answer is incomplete")
	errHead       = errors.New("the answer is not HTTP/1.1")
	errHeadSize   = fmt.Errorf("the answer's headers exceed %d bytes", maxHead)
	errBodySize   = fmt.Errorf("the answer exceeds %d bytes", maxBody)
	errChunk      = errors.New("the answer's chunks are malformed")
	errLength     = errors.New("the answer's Content-Length is malformed")
	errTransfer   = errors.New("the answer's Transfer-Encoding is not chunked")
)

// parse reads the head at the beginning of b; errIncomplete asks for more bytes.
func (h *head) parse(b []byte) error {
	end := bytes.Index(b, crlf2)
	if end < 0 {
		if len(b) > maxHead {
			return errHeadSize
		}
		return errIncomplete
	}
	if end > maxHead {
		return errHeadSize
	}
	*h = head{size: end + len(crlf2), length: -1, json: -1}
	lines := b[:end+len("\r\n")]
	first := bytes.IndexByte(lines, '\n')
	if err := h.statusLine(lines[:first+1]); err != nil {
		return err
	}
	for lines = lines[first+1:]; len(lines) > 0; {
		i := bytes.IndexByte(lines, '\n')
		if err := h.field(lines[:i]); err != nil {
			return err
		}
		lines = lines[i+1:]
	}
	if h.chunked {
		h.length = -1 // RFC 9112, 6.3: Transfer-Encoding overrides Content-Length
	}
	h.bodyless()
	return nil
}

var crlf2 = []byte("\r\n\r\n")

func (h *head) statusLine(b []byte) error {
	// HTTP/1.1 200 OK; RFC 9112 lets the reason be missing.
	if len(b) < len("HTTP/1.1 200\r\n") || string(b[:7]) != "HTTP/1." || b[8] != ' ' {
		return errHead
	}
	h.close = b[7] == '0'
	for _, c := range b[9:12] {
		if c < '0' || c > '9' {
			return errHead
		}
		h.status = 10*h.status + int(c-'0')
	}
	if h.status < 100 || b[12] != ' ' && b[12] != '\r' {
		return errHead
	}
	return nil
}

// bodyless are the statuses that have no body whatever the headers say.
func (h *head) bodyless() {
	if h.status < 200 || h.status == 204 || h.status == 304 {
		h.length, h.chunked = 0, false
	}
}

// field reads one header line. Most are told apart by the length of their names alone.
func (h *head) field(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return errHead
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	switch {
	case fold(name, "content-length"):
		n, ok := number(value)
		if !ok || h.length >= 0 && h.length != n {
			return errLength
		}
		h.length = n
	case fold(name, "transfer-encoding"):
		if !fold(value, "chunked") {
			return errTransfer
		}
		h.chunked = true
	case fold(name, "connection"):
		if fold(value, "close") {
			h.close = true
		} else if fold(value, "keep-alive") {
			h.close = false
		}
	case fold(name, "server-timing"):
		parseTiming(value, &h.server)
	case fold(name, "inference-header-content-length"):
		n, ok := number(value)
		if !ok {
			return errLength
		}
		h.json = n
	}
	return nil
}

// fold compares without regard to case; s is lower case ASCII.
func fold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// number reads decimal digits, up to a little above maxBody.
func number(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > maxBody {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(b) > 0
}

// chunks takes chunked bodies apart in place (RFC 9112, 7.1): b[:out] is the body so far.
type chunks struct {
	in, out int // read and written positions
	left    int // bytes of the chunk at hand that are still missing, its CRLF included
	trailer bool
	done    bool
}

// take goes on as far as b reaches. It never returns errIncomplete: done tells.
func (c *chunks) take(b []byte) error {
	for !c.done {
		if c.left > 0 {
			if c.in == len(b) {
				return nil
			}
			if err := c.copy(b); err != nil {
				return err
			}
			continue
		}
		i := bytes.IndexByte(b[c.in:], '\n')
		if i < 0 {
			if len(b)-c.in > maxHead {
				return errChunk
			}
			return nil
		}
		line := bytes.TrimSuffix(b[c.in:c.in+i], []byte("\r"))
		c.in += i + 1
		if err := c.line(line); err != nil {
			return err
		}
	}
	return nil
}

// copy moves the bytes of a chunk down; the last two are its CRLF.
func (c *chunks) copy(b []byte) error {
	if data := c.left - 2; data > 0 {
		n := copy(b[c.out:], b[c.in:min(len(b), c.in+data)])
		c.in, c.out, c.left = c.in+n, c.out+n, c.left-n
		return nil
	}
	if want := "\r\n"[2-c.left]; b[c.in] != want {
		return errChunk
	}
	c.in++
	c.left--
	return nil
}

// line is a chunk's size, or a line of the trailer.
func (c *chunks) line(line []byte) error {
	if c.trailer {
		c.done = len(line) == 0
		return nil
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	n, ok := hex(bytes.TrimSpace(size))
	if !ok {
		return errChunk
	}
	if c.out+n > maxBody {
		return errBodySize
	}
	if c.trailer = n == 0; !c.trailer {
		c.left = n + 2
	}
	return nil
}

func hex(b []byte) (n int, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		if n > maxBody {
			return 0, false
		}
		n = n<<4 | int(c)
	}
	return n, len(b) > 0
}
