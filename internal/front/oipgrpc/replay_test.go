package oipgrpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/vitrine-project/vitrine/internal/front/oipgrpc"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/transcript"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// The corpus holds what Triton 2.51 answered to some 290 calls (testdata/triton/grpc). Each is made to
// Vitrine with the same bytes, and messages, status code, its text and shared memory are compared.

const (
	corpusFile = "../../../testdata/triton/grpc/corpus.jsonl.gz"
	objectFile = "/dev/shm/vitrine_grpc_transcript_" // and a, b, c; calls use the first
	objectSize = 8192
)

// recorded is one line of the corpus.
type recorded struct {
	Name, Method  string
	Metadata      [][2]string
	Send, Answers [][]byte
	Code          codes.Code
	Message       string
	Before, After []byte
	Compare       string // "", masked, code
	Died          bool
}

// outcome is what a call came to.
type outcome struct {
	Answers [][]byte
	Code    codes.Code
	Message string
	Memory  []byte
}

// rawCodec passes messages as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// dial serves the recorded server's models until the test ends.
func dial(t *testing.T, o oipgrpc.Options) *grpc.ClientConn {
	t.Helper()
	s := oipgrpc.New(o)
	s.SetServer(oip.NewServer(transcript.Registry(t), nil))
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestReplay(t *testing.T) {
	all := transcript.Read[recorded](t, corpusFile)
	if len(all) < 250 {
		t.Fatalf("only %d calls", len(all))
	}
	for _, c := range []string{"a", "b", "c"} {
		if err := os.WriteFile(objectFile+c, make([]byte, objectSize), 0o600); err != nil {
			t.Skip("no shared memory: ", err)
		}
		defer os.Remove(objectFile + c)
	}
	var log transcript.Log
	conn := dial(t, oipgrpc.Options{AccessLog: true, Logger: log.Logger()})
	used := map[string]bool{}
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) { replay(t, conn, &r, used) })
	}
	log.Check(t)
	for name := range differences {
		if !used[name] {
			t.Errorf("the difference of %q is allowed and does not occur", name)
		}
	}
}

// replay makes one recorded call and compares, unless a difference is allowed.
func replay(t *testing.T, conn *grpc.ClientConn, r *recorded, used map[string]bool) {
	want := outcome{r.Answers, r.Code, r.Message, r.After}
	got, err := perform(t.Context(), conn, r)
	if err != nil {
		t.Fatal(err)
	}
	d, allowed := differences[r.Name]
	problem := compare(r, &want, got)
	switch {
	case !allowed:
		if problem != "" {
			t.Error(problem)
		}
	case problem == "":
		t.Errorf("it answers as Triton does; the difference %q is not needed", d.reason)
	default:
		used[r.Name] = true
		if got.Code != d.code || !strings.Contains(got.Message+texts(r, got), d.text) {
			t.Errorf("%v %q %s, want %v and %q", got.Code, got.Message, texts(r, got), d.code, d.text)
		}
	}
}

// perform makes a call as the recorder did: each message of a stream when the one before is answered.
func perform(ctx context.Context, conn *grpc.ClientConn, r *recorded) (*outcome, error) {
	if r.Before != nil {
		if err := writeObject(r.Before); err != nil {
			return nil, err
		}
	}
	for _, p := range r.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, p[0], p[1])
	}
	var o outcome
	var err error
	if strings.HasSuffix(r.Method, "/ModelStreamInfer") {
		o.Answers, err = streamed(ctx, conn, r)
	} else {
		var answer []byte
		if err = conn.Invoke(ctx, r.Method, &r.Send[0], &answer); err == nil {
			o.Answers = [][]byte{answer}
		}
	}
	o.Code, o.Message = status.Code(err), status.Convert(err).Message()
	if r.Before != nil {
		if o.Memory, err = os.ReadFile(objectFile + "a"); err != nil {
			return nil, err
		}
		o.Memory = o.Memory[:len(r.Before)]
	}
	return &o, nil
}

func writeObject(content []byte) error {
	f, err := os.OpenFile(objectFile+"a", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func streamed(ctx context.Context, conn *grpc.ClientConn, r *recorded) (answers [][]byte, err error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, r.Method)
	if err != nil {
		return nil, err
	}
	receive := func() error {
		var answer []byte
		if err := s.RecvMsg(&answer); err != nil {
			return err
		}
		answers = append(answers, answer)
		return nil
	}
	for i := range r.Send {
		if err := s.SendMsg(&r.Send[i]); err != nil && !errors.Is(err, io.EOF) {
			return answers, err
		}
		if err := receive(); err != nil {
			return answers, ended(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		return answers, err
	}
	for {
		if err := receive(); err != nil {
			return answers, ended(err)
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func compare(r *recorded, want, got *outcome) string {
	switch {
	case want.Code != got.Code:
		return fmt.Sprintf("%v %q %s, want %v %q", got.Code, got.Message, texts(r, got), want.Code, want.Message)
	case r.Compare == "code":
		return ""
	case want.Message != got.Message:
		return fmt.Sprintf("%q, want %q", got.Message, want.Message)
	case len(want.Answers) != len(got.Answers):
		return fmt.Sprintf("%d messages %s, want %d %s", len(got.Answers), texts(r, got), len(want.Answers), texts(r, want))
	case !bytes.Equal(want.Memory, got.Memory):
		return "shared memory: (-want +got)\n" + cmp.Diff(want.Memory, got.Memory)
	}
	for i := range want.Answers {
		if d := cmp.Diff(decode(r, want.Answers[i]), decode(r, got.Answers[i]), protocmp.Transform()); d != "" {
			return fmt.Sprintf("message %d: (-want +got)\n%s", i, d)
		}
	}
	return ""
}

// texts are the messages of an outcome for people.
func texts(r *recorded, o *outcome) string {
	var b strings.Builder
	for _, a := range o.Answers {
		fmt.Fprint(&b, decode(r, a), " ")
	}
	return b.String()
}

// decode reads an answer of a method, without what differs from run to run.
func decode(r *recorded, b []byte) proto.Message {
	m := answerOf(r.Method)
	if err := proto.Unmarshal(b, m); err != nil {
		return &pb.ModelStreamInferResponse{ErrorMessage: "no protobuf: " + err.Error()}
	}
	if r.Compare == "masked" {
		mask(m.ProtoReflect())
	}
	return m
}

func answerOf(method string) proto.Message {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	file := pb.File_grpc_service_proto
	if strings.HasPrefix(service, "grpc.health") {
		file = grpc_health_v1.File_grpc_health_v1_health_proto
	}
	s := file.Services().ByName(protoreflect.FullName(service).Name())
	return dynamicpb.NewMessage(s.Methods().ByName(protoreflect.Name(name)).Output())
}

// mask clears times; counts stay.
func mask(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Name() == "ns" || f.Name() == "last_inference":
			m.Clear(f)
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				mask(v.List().Get(i).Message())
			}
		case f.Message() != nil && !f.IsMap():
			mask(v.Message())
		}
		return true
	})
}
