// Grpcload drives ModelInfer in a closed loop, one connection a client, and prints what it measured as one
// line of JSON. The request is encoded once and answers are not decoded, so that it costs as little as wrk does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

const method = "/inference.GRPCInferenceService/ModelInfer"

// verbatim passes bytes through; its name is proto, as the server expects.
type verbatim struct{}

func (verbatim) Name() string { return "proto" }

func (verbatim) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (verbatim) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*int) = data.Len()
	return nil
}

var _ encoding.CodecV2 = verbatim{}

// counted adds up what goes over a connection.
type counted struct {
	net.Conn
	sent, received *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

type load struct {
	address        string
	request        []byte
	sent, received atomic.Int64
	until          time.Time
}

// writeBuffer lets a connection write a message of 602 KB in three calls; with the library's 32 KiB they are
// nineteen, and the client takes almost twice the processor time, as much as the server that it measures.
const writeBuffer = 256 << 10

func (l *load) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:"+l.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithWriteBufferSize(writeBuffer),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(verbatim{}), grpc.MaxCallRecvMsgSize(1<<28)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return counted{c, &l.sent, &l.received}, nil
		}))
}

// client calls until the time is over; a call under way then is finished and counts.
func (l *load) client(c *grpc.ClientConn) (latencies []time.Duration, failed int, last error) {
	for start := time.Now(); start.Before(l.until); {
		var size int
		err := c.Invoke(context.Background(), method, l.request, &size)
		end := time.Now()
		if err != nil {
			failed++
			last = err
		}
		latencies = append(latencies, end.Sub(start))
		start = end
	}
	return latencies, failed, last
}

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

func (l *load) run(clients int, duration time.Duration) (*result, error) {
	conns := make([]*grpc.ClientConn, clients)
	for i := range conns {
		c, err := l.dial()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		c.Connect()
		conns[i] = c
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		all  []time.Duration
		fail int
		last error
	)
	start := time.Now()
	l.until = start.Add(duration)
	for _, c := range conns {
		wg.Go(func() {
			latencies, failed, err := l.client(c)
			mu.Lock()
			defer mu.Unlock()
			all, fail, last = append(all, latencies...), fail+failed, errors.Join(last, err)
		})
	}
	wg.Wait()
	if len(all) == 0 || fail == len(all) {
		return nil, fmt.Errorf("no request succeeded: %w", last)
	}
	r := &result{Requests: len(all), Seconds: time.Since(start).Seconds(), Errors: fail}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1e3 }
	r.P50, r.P99, r.Max = at(0.5), at(0.99), at(1)
	r.Sent, r.Received = l.sent.Load()/int64(len(all)), l.received.Load()/int64(len(all))
	return r, nil
}

func main() {
	address := flag.String("address", "127.0.0.1:8001", "of the gRPC service")
	model := flag.String("model", "openclip_vit_b32", "that takes an image FP32 [1,3,224,224]")
	clients := flag.Int("clients", 1, "closed loops, a connection each")
	duration := flag.Duration("duration", 5*time.Second, "of the run")
	flag.Parse()
	request, err := tensorRequest(*model)
	if err == nil {
		var r *result
		if r, err = (&load{address: *address, request: request}).run(*clients, *duration); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpcload:", err)
		os.Exit(1)
	}
}
