package oipgrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/samples"
	"github.com/vitrine-project/vitrine/internal/telemetry"
	"github.com/vitrine-project/vitrine/internal/tensor"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// sampleModels are the examples' models, an identity of every data type, and one that fails.
func sampleModels(t testing.TB) []oip.Model {
	t.Helper()
	all := samples.Default()
	add := func(kind, name string, d tensor.DType, shape []int64) {
		m, err := samples.New(samples.Options{Kind: kind, MaxBatch: 8, Metadata: oip.Metadata{Name: name, Version: "1", Platform: "samples",
			Inputs:  []oip.TensorSpec{{Name: "INPUT0", DType: d, Shape: shape}},
			Outputs: []oip.TensorSpec{{Name: "OUTPUT0", DType: d, Shape: shape}}}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	for d := tensor.Bool; d <= tensor.Bytes; d++ {
		add("identity", "identity_"+strings.ToLower(d.String()), d, []int64{-1, -1})
	}
	add("failing", "failing", tensor.FP32, []int64{-1, 1})
	add("zeros", "zeros", tensor.FP32, []int64{-1, -1, -1, -1})
	return all
}

func newOIP(t testing.TB) *oip.Server {
	t.Helper()
	models := sampleModels(t)
	registry := oip.NewRegistry(oip.Known(models))
	for _, m := range models {
		if err := registry.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return oip.NewServer(registry, nil)
}

// start serves until the test ends; it returns a connection of a client.
func start(t testing.TB, o Options, more ...grpc.DialOption) (*Server, *grpc.ClientConn) {
	t.Helper()
	s := New(o)
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", append(more, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, conn
}

func client(t testing.TB) pb.GRPCInferenceServiceClient {
	s, conn := start(t, Options{})
	s.SetServer(newOIP(t))
	return pb.NewGRPCInferenceServiceClient(conn)
}

func ints(n int) *pb.InferTensorContents {
	c := &pb.InferTensorContents{}
	for i := range n {
		c.IntContents = append(c.IntContents, int32(i))
	}
	return c
}

func input(name, datatype string, c *pb.InferTensorContents, shape ...int64) *pb.ModelInferRequest_InferInputTensor {
	return &pb.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape, Contents: c}
}

// simple is a request of the model of that name.
func simple(a, b *pb.InferTensorContents, raw ...[]byte) *pb.ModelInferRequest {
	return &pb.ModelInferRequest{ModelName: "simple", RawInputContents: raw,
		Inputs: []*pb.ModelInferRequest_InferInputTensor{input("INPUT0", "INT32", a, 1, 16), input("INPUT1", "INT32", b, 1, 16)}}
}

func rawInts(n int, f func(int) int32) (b []byte) {
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, uint32(f(i)))
	}
	return b
}

func TestInferTypedAndRaw(t *testing.T) {
	c := client(t)
	ramp := rawInts(16, func(i int) int32 { return int32(i) })
	want := &pb.ModelInferResponse{ModelName: "simple", ModelVersion: "1", Id: "x",
		Outputs: []*pb.ModelInferResponse_InferOutputTensor{
			{Name: "OUTPUT0", Datatype: "INT32", Shape: []int64{1, 16}}, {Name: "OUTPUT1", Datatype: "INT32", Shape: []int64{1, 16}}},
		RawOutputContents: [][]byte{rawInts(16, func(i int) int32 { return 2 * int32(i) }), make([]byte, 64)}}
	for name, r := range map[string]*pb.ModelInferRequest{"typed": simple(ints(16), ints(16)), "raw": simple(nil, nil, ramp, ramp), "more raw than inputs": simple(nil, nil, ramp, ramp, ramp)} {
		r.Id = "x"
		for _, option := range []grpc.CallOption{grpc.MaxCallRecvMsgSize(1 << 20), grpc.UseCompressor(gzip.Name), grpc.UseCompressor("deflate")} {
			got, err := c.ModelInfer(t.Context(), r, option)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
				t.Errorf("%s: (-want +got)\n%s", name, d)
			}
		}
	}
}

// The bytes are what Triton 2.51 answers to the same requests.
func TestTypedContentsOfEveryType(t *testing.T) {
	c := client(t)
	for _, x := range []struct {
		datatype string
		contents *pb.InferTensorContents
		want     string
	}{
		{"BOOL", &pb.InferTensorContents{BoolContents: []bool{true, false}}, "\x01\x00"},
		{"INT8", &pb.InferTensorContents{IntContents: []int32{1, -1}}, "\x01\xff"},
		{"INT8", &pb.InferTensorContents{IntContents: []int32{300, -1}}, ",\xff"},
		{"UINT8", &pb.InferTensorContents{UintContents: []uint32{255, 256}}, "\xff\x00"},
		{"INT16", &pb.InferTensorContents{IntContents: []int32{1, 70000}}, "\x01\x00p\x11"},
		{"UINT16", &pb.InferTensorContents{UintContents: []uint32{1, 2}}, "\x01\x00\x02\x00"},
		{"UINT32", &pb.InferTensorContents{UintContents: []uint32{1, 2}}, "\x01\x00\x00\x00\x02\x00\x00\x00"},
		{"INT64", &pb.InferTensorContents{Int64Contents: []int64{1, -2}}, "\x01\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff\xff\xff\xff\xff"},
		{"UINT64", &pb.InferTensorContents{Uint64Contents: []uint64{1, 2}}, "\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"},
		{"FP32", &pb.InferTensorContents{Fp32Contents: []float32{1, 2}}, "\x00\x00\x80?\x00\x00\x00@"},
		{"FP64", &pb.InferTensorContents{Fp64Contents: []float64{1, 2}}, "\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00@"},
		{"BYTES", &pb.InferTensorContents{BytesContents: [][]byte{[]byte("a"), {}}}, "\x01\x00\x00\x00a\x00\x00\x00\x00"},
	} {
		r := &pb.ModelInferRequest{ModelName: "identity_" + strings.ToLower(x.datatype), Inputs: []*pb.ModelInferRequest_InferInputTensor{input("INPUT0", x.datatype, x.contents, 1, 2)}}
		got, err := c.ModelInfer(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", x.datatype, err)
		} else if string(got.RawOutputContents[0]) != x.want {
			t.Errorf("%s: %q, want %q", x.datatype, got.RawOutputContents[0], x.want)
		}
	}
}

func with(r *pb.ModelInferRequest, k string, p *pb.InferParameter) *pb.ModelInferRequest {
	r.Parameters = map[string]*pb.InferParameter{k: p}
	return r
}

func integer(n int64) *pb.InferParameter {
	return &pb.InferParameter{ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: n}}
}

func word(s string) *pb.InferParameter {
	return &pb.InferParameter{ParameterChoice: &pb.InferParameter_StringParam{StringParam: s}}
}

func sound() *pb.ModelInferRequest { return simple(ints(16), ints(16)) }

func firstInput(r *pb.ModelInferRequest, params map[string]*pb.InferParameter) *pb.ModelInferRequest {
	r.Inputs[0].Parameters = params
	return r
}

func output(params map[string]*pb.InferParameter) *pb.ModelInferRequest {
	r := sound()
	r.Outputs = []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "OUTPUT0", Parameters: params}}
	return r
}

// Codes and words are those of Triton 2.51, asked the same.
func TestInferErrors(t *testing.T) {
	c := client(t)
	raw := make([]byte, 64)
	unknown, other := sound(), sound()
	unknown.ModelName = "nope"
	other.ModelVersion = "9"
	mixed := simple(ints(16), ints(16))
	mixed.Inputs[0].Contents.Fp32Contents = []float32{1}
	for _, x := range []struct {
		r    *pb.ModelInferRequest
		code codes.Code
		want string
	}{
		{simple(ints(16), ints(16), raw, raw), codes.InvalidArgument, "contents field must not be specified when using raw_input_contents for 'INPUT0' for model 'simple'"},
		{simple(nil, nil, raw), codes.InvalidArgument, "unable to find data for input tensor 'INPUT1' for model 'simple' in request."},
		{simple(nil, nil), codes.InvalidArgument, "unable to find data for input tensor 'INPUT0' for model 'simple' in request."},
		{simple(&pb.InferTensorContents{Fp32Contents: make([]float32, 16)}, ints(16)), codes.InvalidArgument, "unexpected explicit tensor data for input tensor 'INPUT0' for model 'simple' of type 'FP32', expected datatype 'INT32'"},
		{mixed, codes.InvalidArgument, "unexpected explicit tensor data for input tensor 'INPUT0' for model 'simple', binary data was already supplied."},
		{simple(ints(15), ints(16)), codes.InvalidArgument, "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model 'simple'. Expected 64, got 60"},
		{simple(nil, nil, raw[:60], raw), codes.InvalidArgument, "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model 'simple'. Expected 64, got 60"},
		{unknown, codes.NotFound, "Request for unknown model: 'nope' is not found"},
		{other, codes.NotFound, "Request for unknown model: 'simple' version 9 is not found"},
		{&pb.ModelInferRequest{}, codes.NotFound, "Request for unknown model: '' is not found"},
		{with(sound(), "priority", word("1")), codes.InvalidArgument, "invalid value type for 'priority' parameter, expected int64_param or uint64_param."},
		{with(sound(), "timeout", word("1")), codes.InvalidArgument, "invalid value type for 'timeout' parameter, expected int64_param."},
		{with(sound(), "sequence_start", integer(1)), codes.InvalidArgument, "invalid value type for 'sequence_start' parameter, expected bool_param."},
		{with(sound(), "foo", &pb.InferParameter{}), codes.InvalidArgument, "invalid value type for 'foo' parameter, expected int64_param, bool_param, or string_param."},
		{with(sound(), "triton_x", integer(1)), codes.InvalidArgument, "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting with 'triton_' are allowed: triton_enable_empty_final_response"},
		{firstInput(sound(), map[string]*pb.InferParameter{regionKey: word("r")}), codes.InvalidArgument, "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'INPUT0'"},
		{firstInput(sound(), map[string]*pb.InferParameter{sizeKey: integer(64)}), codes.InvalidArgument, "'shared_memory_byte_size' can not be specified without 'shared_memory_region' parameter for tensor 'INPUT0'"},
		{firstInput(sound(), map[string]*pb.InferParameter{regionKey: word("r"), sizeKey: integer(64)}), codes.InvalidArgument, "unexpected 'content' provided when using shared memory for input tensor 'INPUT0' for model 'simple'"},
		{firstInput(simple(nil, nil, raw), map[string]*pb.InferParameter{regionKey: word("r"), sizeKey: integer(64)}), codes.NotFound, "Unable to find shared memory region: 'r'"},
		{output(map[string]*pb.InferParameter{"classification": integer(0)}), codes.InvalidArgument, "invalid value for 'classification' parameter, expected >= 0"},
		{output(map[string]*pb.InferParameter{"classification": integer(2), regionKey: word("r"), sizeKey: integer(64)}), codes.InvalidArgument, "output can't set both 'shared_memory_region' and 'classification'"},
	} {
		_, err := c.ModelInfer(t.Context(), x.r)
		if got := status.Convert(err); got.Code() != x.code || got.Message() != x.want {
			t.Errorf("%v %q,\nwant %v %q", got.Code(), got.Message(), x.code, x.want)
		}
	}
}

func TestStreamTellsErrorsAndGoesOn(t *testing.T) {
	stream, err := client(t).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"simple", "nope", "simple"} {
		r := sound()
		r.ModelName, r.Id = name, name
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.ErrorMessage == "" && !r.InferResponse.Parameters["triton_final_response"].GetBoolParam() {
			t.Error("an answer is not marked as final")
		}
		got = append(got, r.InferResponse.Id+"|"+r.ErrorMessage)
	}
	if d := cmp.Diff([]string{"simple|", "nope|Request for unknown model: 'nope' is not found", "simple|"}, got); d != "" {
		t.Error(d)
	}
}

func TestStrictStreamEndsWithTheFirstError(t *testing.T) {
	stream, err := client(t).ModelStreamInfer(metadata.AppendToOutgoingContext(t.Context(), "triton_grpc_error", "true"))
	if err != nil {
		t.Fatal(err)
	}
	failing := &pb.ModelInferRequest{ModelName: "nope"}
	for _, r := range []*pb.ModelInferRequest{sound(), failing} {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("%v, want NotFound", err)
	}
}

func TestShutdownEndsIdleStreams(t *testing.T) {
	s := New(Options{})
	s.SetServer(newOIP(t))
	l := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	infer, err := pb.NewGRPCInferenceServiceClient(conn).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reflect, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(infer.Send(sound()), reflect.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})); err != nil {
		t.Fatal(err)
	}
	if _, err := infer.Recv(); err != nil {
		t.Fatal(err)
	}
	list, err := reflect.Recv()
	if err != nil || !strings.Contains(list.String(), "inference.GRPCInferenceService") {
		t.Fatalf("%v %v", list, err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := infer.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want Unavailable", err)
	}
}

func TestNotReadyBeforeModelsAndWhileDraining(t *testing.T) {
	s, conn := start(t, Options{})
	c, health := pb.NewGRPCInferenceServiceClient(conn), grpc_health_v1.NewHealthClient(conn)
	check := func(want bool) {
		t.Helper()
		live, err1 := c.ServerLive(t.Context(), &pb.ServerLiveRequest{})
		ready, err2 := c.ServerReady(t.Context(), &pb.ServerReadyRequest{})
		h, err3 := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if !live.Live || ready.Ready != want || (h.Status == grpc_health_v1.HealthCheckResponse_SERVING) != want {
			t.Errorf("live %v, ready %v, health %v; want ready %v", live.Live, ready.Ready, h.Status, want)
		}
	}
	check(false)
	if _, err := c.ModelInfer(t.Context(), sound()); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want Unavailable", err)
	}
	s.SetServer(newOIP(t))
	check(true)
	s.SetDraining()
	check(false)
	if _, err := c.ModelInfer(t.Context(), sound()); err != nil {
		t.Errorf("a draining server does not answer: %v", err)
	}
}

func TestModelCalls(t *testing.T) {
	c := client(t)
	if _, err := c.ModelInfer(t.Context(), sound()); err != nil {
		t.Fatal(err)
	}
	meta, err := c.ModelMetadata(t.Context(), &pb.ModelMetadataRequest{Name: "simple"})
	if err != nil || meta.Versions[0] != "1" || len(meta.Inputs) != 2 || !cmp.Equal(meta.Inputs[0].Shape, []int64{-1, 16}) {
		t.Errorf("%v %v", meta, err)
	}
	config, err := c.ModelConfig(t.Context(), &pb.ModelConfigRequest{Name: "simple"})
	if err != nil || config.Config.MaxBatchSize != 8 || config.Config.Input[0].DataType != pb.DataType_TYPE_INT32 || !cmp.Equal(config.Config.Input[0].Dims, []int64{16}) {
		t.Errorf("%v %v", config, err)
	}
	for _, m := range sampleModels(t) {
		if _, err := configuration(m.Config()); err != nil {
			t.Errorf("%s: %v", m.Metadata().Name, err)
		}
	}
	stats, err := c.ModelStatistics(t.Context(), &pb.ModelStatisticsRequest{Name: "simple"})
	if err != nil || stats.ModelStats[0].InferenceStats.Success.Count != 1 || stats.ModelStats[0].ExecutionCount != 1 {
		t.Errorf("%v %v", stats, err)
	}
	_, err = c.ModelStatistics(t.Context(), &pb.ModelStatisticsRequest{Name: "nope"})
	if got := status.Convert(err); got.Code() != codes.InvalidArgument || got.Message() != "requested model 'nope' is not available" {
		t.Error(err)
	}
	ready, err := c.ModelReady(t.Context(), &pb.ModelReadyRequest{Name: "nope"})
	if err != nil || ready.Ready {
		t.Errorf("%v %v", ready, err)
	}
	if _, err = c.RepositoryIndex(t.Context(), &pb.RepositoryIndexRequest{RepositoryName: "x"}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	if _, err = c.RepositoryModelUnload(t.Context(), &pb.RepositoryModelUnloadRequest{ModelName: "simple"}); err != nil {
		t.Error(err)
	}
	if _, err = c.ModelInfer(t.Context(), sound()); status.Code(err) != codes.NotFound {
		t.Errorf("%v, want NotFound after an unload", err)
	}
	if _, err = c.CudaSharedMemoryRegister(t.Context(), &pb.CudaSharedMemoryRegisterRequest{Name: "r"}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	_, err = c.LogSettings(t.Context(), &pb.LogSettingsRequest{Settings: map[string]*pb.LogSettingsRequest_SettingValue{"log_info": {}}})
	if status.Convert(err).Message() != "expect boolean for 'log_info'" {
		t.Error(err)
	}
	_, err = c.TraceSetting(t.Context(), &pb.TraceSettingRequest{ModelName: "nope"})
	if status.Convert(err).Message() != "Request for unknown model : nope" {
		t.Error(err)
	}
}

type recorder chan telemetry.Record

func (r recorder) ObserveRequest(x *telemetry.Record) { r <- *x }

func TestRequestsAreReportedOnce(t *testing.T) {
	seen := make(recorder, 9)
	s, conn := start(t, Options{Observer: seen})
	s.SetServer(newOIP(t))
	c := pb.NewGRPCInferenceServiceClient(conn)
	r := sound()
	r.Id = "mine"
	if _, err := c.ModelInfer(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got := <-seen
	if got.ID != "mine" || got.Protocol != "grpc" || got.Code != 0 || got.Model != "simple" || got.Items != 1 || got.BytesIn == 0 || got.BytesOut == 0 || len(seen) != 0 {
		t.Errorf("%+v and %d more", got, len(seen))
	}
}

// What a client is told first bounds what it may open and send.
func TestSettings(t *testing.T) {
	s := New(Options{})
	l := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := l.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := f.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("%v, want settings", frame)
	}
	for id, want := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: 1024, http2.SettingInitialWindowSize: 4 << 20, http2.SettingMaxFrameSize: 16384} {
		if got, ok := settings.Value(id); !ok || got != want {
			t.Errorf("%v is %d, want %d", id, got, want)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
