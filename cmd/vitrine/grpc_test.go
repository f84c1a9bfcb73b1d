package main

import (
	"encoding/binary"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// An encoded image becomes an embedding over gRPC, and a stream that its client leaves open does not
// keep the server from ending.
func TestServeGRPC(t *testing.T) {
	r := start(t, "--engine", "null", "--grpc", "127.0.0.1:0")
	var address string
	for _, line := range r.out {
		if rest, ok := strings.CutPrefix(line, "gRPC on "); ok {
			address = rest
		}
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := pb.NewGRPCInferenceServiceClient(conn).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	photo, err := os.ReadFile("../../testdata/photos/astronaut.jpg")
	if err != nil {
		t.Fatal(err)
	}
	element := append(binary.LittleEndian.AppendUint32(nil, uint32(len(photo))), photo...)
	if err := stream.Send(&pb.ModelInferRequest{ModelName: "openclip_vit_b32_jpeg", RawInputContents: [][]byte{element},
		Inputs: []*pb.ModelInferRequest_InferInputTensor{{Name: "image", Datatype: "BYTES", Shape: []int64{1, 1}}}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || answer.ErrorMessage != "" || len(answer.InferResponse.RawOutputContents[0]) != 512*4 {
		t.Fatalf("%v %v", answer, err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want Unavailable", err)
	}
	<-r.done
	if r.code != exitOK {
		t.Errorf("exit code %d:\n%s", r.code, strings.Join(r.rest(), "\n"))
	}
}

func TestMilliseconds(t *testing.T) {
	for text, want := range map[string]time.Duration{"7200000": 2 * time.Hour, "1.5s": 1500 * time.Millisecond, "0": 0} {
		var d time.Duration
		if err := newMilliseconds(&d, time.Second).Set(text); err != nil || d != want {
			t.Errorf("%s: %v %v, want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"-1", "soon", "9223372036854775807"} {
		var d time.Duration
		if newMilliseconds(&d, time.Second).Set(text) == nil {
			t.Errorf("%s is taken as %v", text, d)
		}
	}
}
