// Echo is the server that load generators are compared on: it reads a request and its body, throws both
// away and answers with one embedding that never changes. It does so little that the client is the
// bottleneck, and it speaks HTTP/1.1 just well enough for the clients that are compared. With -stall it
// answers nobody for a while, once, so that one can see which tools notice.
//
//	echo [-listen 127.0.0.1:8099] [-stall 1s -after 4s]
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"sync"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8099", "address")
	var p pause
	flag.DurationVar(&p.length, "stall", 0, "how long to answer nobody, once")
	flag.DurationVar(&p.after, "after", 4*time.Second, "when to stall, from the first POST on")
	flag.Parse()
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c, &p)
	}
}

// pause is the stall. Its begin counts from the first POST, so that it falls into the load.
type pause struct {
	length, after time.Duration
	once          sync.Once
	begin         time.Time
}

// wait returns at the stall's end if it is called within it.
func (p *pause) wait() {
	if p.length == 0 {
		return
	}
	p.once.Do(func() { p.begin = time.Now().Add(p.after) })
	if in := time.Since(p.begin); in >= 0 && in < p.length {
		time.Sleep(p.length - in)
	}
}

const body = `{"embeddings":[[0.25,0.5,0.75,1.0]],"count":1}`

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)

// serve answers one request after the other until the client leaves.
func serve(c net.Conn, p *pause) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		length, err := head(r)
		if err != nil {
			return
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		if length > 0 {
			p.wait()
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

var contentLength = []byte("content-length:")

// head reads up to the empty line and returns the body's length.
func head(r *bufio.Reader) (length int, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, nil
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil || length < 0 {
				return 0, io.ErrUnexpectedEOF
			}
		}
	}
}
