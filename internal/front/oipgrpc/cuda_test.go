package oipgrpc

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// cardMemory is memory of a card that is not there.
type cardMemory struct{ content []byte }

func (c *cardMemory) Size() uint64 { return uint64(len(c.content)) }
func (c *cardMemory) Read(to []byte, offset uint64) error {
	copy(to, c.content[offset:])
	return nil
}
func (c *cardMemory) Write(from []byte, offset uint64) error {
	copy(c.content[offset:], from)
	return nil
}
func (*cardMemory) Close() error { return nil }

func TestCUDAMemory(t *testing.T) {
	nines, m := bytes.Repeat([]byte{9}, oip.HandleSize), &cardMemory{make([]byte, 192)}
	for i := range 32 {
		m.content[4*i] = byte(i)
	}
	o := newOIP(t)
	o.Regions.Card = func(device int, handle [oip.HandleSize]byte) (oip.CardMemory, error) {
		if device != 1 || !bytes.Equal(handle[:], nines) {
			return nil, errors.New("invalid argument")
		}
		return m, nil
	}
	s, conn := start(t, Options{})
	s.SetServer(o)
	c := pb.NewGRPCInferenceServiceClient(conn)
	wrong := func(err error, code codes.Code, text string) {
		t.Helper()
		if got := status.Convert(err); got.Code() != code || got.Message() != text {
			t.Errorf("%v, want %v %s", err, code, text)
		}
	}
	const invalid = "failed to register shared memory region: invalid args"
	for _, r := range []*pb.CudaSharedMemoryRegisterRequest{
		{Name: "x", RawHandle: []byte("1"), ByteSize: 8}, // the one of testdata/triton/grpc
		{Name: "x", RawHandle: nines, DeviceId: -1, ByteSize: 8},
		{Name: "x", RawHandle: nines, DeviceId: 0, ByteSize: 8},
	} {
		_, err := c.CudaSharedMemoryRegister(t.Context(), r)
		wrong(err, codes.InvalidArgument, invalid)
	}
	good := &pb.CudaSharedMemoryRegisterRequest{Name: "r", RawHandle: nines, DeviceId: 1, ByteSize: 192}
	if _, err := c.CudaSharedMemoryRegister(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	_, err := c.CudaSharedMemoryRegister(t.Context(), good)
	wrong(err, codes.AlreadyExists, "shared memory region 'r' already in manager")
	for _, name := range []string{"", "r"} {
		all, err := c.CudaSharedMemoryStatus(t.Context(), &pb.CudaSharedMemoryStatusRequest{Name: name})
		want := &pb.CudaSharedMemoryStatusResponse{Regions: map[string]*pb.CudaSharedMemoryStatusResponse_RegionStatus{
			"r": {Name: "r", DeviceId: 1, ByteSize: 192}}}
		if err != nil || !proto.Equal(all, want) {
			t.Errorf("%v, %v", all, err)
		}
	}
	inferOnCard(t, c)
	for i := range 16 {
		if got := m.content[128+4*i]; int(got) != i+i+16 {
			t.Errorf("element %d of the sum is %d", i, got)
		}
	}
	if _, err := c.CudaSharedMemoryUnregister(t.Context(), &pb.CudaSharedMemoryUnregisterRequest{Name: "r"}); err != nil {
		t.Error(err)
	}
	_, err = c.CudaSharedMemoryStatus(t.Context(), &pb.CudaSharedMemoryStatusRequest{Name: "r"})
	wrong(err, codes.NotFound, "Unable to find cuda shared memory region: 'r'")
}

// inferOnCard adds the 16 numbers at 0 and those at 64 of region r, to 128.
func inferOnCard(t *testing.T, c pb.GRPCInferenceServiceClient) {
	t.Helper()
	part := func(at int64) map[string]*pb.InferParameter {
		return map[string]*pb.InferParameter{
			"shared_memory_region":    {ParameterChoice: &pb.InferParameter_StringParam{StringParam: "r"}},
			"shared_memory_offset":    {ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: at}},
			"shared_memory_byte_size": {ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: 64}},
		}
	}
	got, err := c.ModelInfer(t.Context(), &pb.ModelInferRequest{ModelName: "simple",
		Inputs: []*pb.ModelInferRequest_InferInputTensor{
			{Name: "INPUT0", Datatype: "INT32", Shape: []int64{1, 16}, Parameters: part(0)},
			{Name: "INPUT1", Datatype: "INT32", Shape: []int64{1, 16}, Parameters: part(64)}},
		Outputs: []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "OUTPUT0", Parameters: part(128)}}})
	if err != nil || len(got.GetOutputs()) != 1 || len(got.RawOutputContents[0]) != 0 {
		t.Fatalf("%v, %v", got, err)
	}
}
