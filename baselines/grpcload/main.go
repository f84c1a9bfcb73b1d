// Grpcload drives ModelInfer in a closed loop, one connection a client, and prints what it measured as one
// line of JSON. It speaks HTTP/2 itself: the request is encoded once and goes out by one system call, and of
// answers no more is decoded than tells whether they are right, so that it costs as little as wrk does.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// grace is the time for answers that are under way when the run ends.
const grace = time.Minute

func tensorRequest(model string) ([]byte, error) {
	return proto.Marshal(&pb.ModelInferRequest{
		ModelName: model,
		Inputs: []*pb.ModelInferRequest_InferInputTensor{
			{Name: "image", Datatype: "FP32", Shape: []int64{1, 3, 224, 224}},
		},
		RawInputContents: [][]byte{make([]byte, 4*3*224*224)},
	})
}

type result struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	Errors   int     `json:"errors"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	Sent     int64   `json:"sent_bytes"`     // a request
	Received int64   `json:"received_bytes"` // a request
}

// loop is what one client has measured.
type loop struct {
	latencies []time.Duration
	failed    int
	last      error // of those that failed
}

// run calls until the time is over, but once at least; a call under way then is finished and counts. A connection
// that breaks ends it.
func (l *loop) run(c *conn, until time.Time) {
	for start := time.Now(); len(l.latencies) == 0 || start.Before(until); {
		err := c.call()
		end := time.Now()
		l.latencies = append(l.latencies, end.Sub(start))
		start = end
		if err == nil {
			continue
		}
		l.failed++
		l.last = err
		if !errors.As(err, new(*refusal)) {
			return
		}
	}
}

func run(address, model string, clients int, duration time.Duration) (*result, error) {
	request, err := tensorRequest(model)
	if err != nil {
		return nil, err
	}
	message := prefixed(request)
	conns := make([]*conn, clients)
	for i := range conns {
		socket, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		defer socket.Close()
		if err := socket.SetDeadline(time.Now().Add(duration + grace)); err != nil {
			return nil, err
		}
		if conns[i], err = newConn(socket, address, message); err != nil {
			return nil, err
		}
	}
	loops := make([]loop, clients)
	var all sync.WaitGroup
	start := time.Now()
	for i := range loops {
		all.Go(func() { loops[i].run(conns[i], start.Add(duration)) })
	}
	all.Wait()
	return summary(loops, conns, time.Since(start))
}

func summary(loops []loop, conns []*conn, took time.Duration) (*result, error) {
	r := &result{Seconds: took.Seconds()}
	var all []time.Duration
	var last error
	for i := range loops {
		all = append(all, loops[i].latencies...)
		r.Errors += loops[i].failed
		last = errors.Join(last, loops[i].last)
		r.Sent += conns[i].sent
		r.Received += conns[i].received
	}
	r.Requests = len(all)
	if r.Errors == r.Requests {
		return nil, fmt.Errorf("no request succeeded: %w", last)
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1e3 }
	r.P50, r.P99, r.Max = at(0.5), at(0.99), at(1)
	r.Sent /= int64(len(all))
	r.Received /= int64(len(all))
	return r, nil
}

func main() {
	address := flag.String("address", "127.0.0.1:8001", "of the gRPC service")
	model := flag.String("model", "openclip_vit_b32", "that takes an image FP32 [1,3,224,224]")
	clients := flag.Int("clients", 1, "closed loops, a connection each")
	duration := flag.Duration("duration", 5*time.Second, "of the run")
	flag.Parse()
	r, err := run(*address, *model, *clients, *duration)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpcload:", err)
		os.Exit(1)
	}
}
