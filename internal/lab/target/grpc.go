package target

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// grpcTarget is a server of the Open Inference Protocol over gRPC. Each worker has a connection of its own.
type grpcTarget struct {
	site    *site
	headers metadata.MD

	once  sync.Mutex
	input *tensorInput
}

func newGRPC(s *site) *grpcTarget {
	return &grpcTarget{site: s, headers: metadata.New(s.Headers)}
}

// grpcRequest is a message as it is on the wire, without gRPC's five bytes and HTTP/2's frames.
type grpcRequest struct {
	bytes  []byte
	images int
}

func (q *grpcRequest) Images() int { return q.images }
func (q *grpcRequest) Bytes() int  { return 0 }

// Prepare marshals the message.
func (t *grpcTarget) Prepare(images []Image) (Request, error) {
	q, err := t.encode(images)
	if err != nil {
		return nil, fmt.Errorf("target %s: %s: %w", t.site.Name, t.site.Format, err)
	}
	return q, nil
}

func (t *grpcTarget) encode(images []Image) (*grpcRequest, error) {
	kind := kinds[t.site.Format]
	if len(images) == 0 {
		return nil, errNoImages
	}
	if err := sameSize(kind, images); err != nil {
		return nil, err
	}
	in, err := t.modelInput(kind)
	if err != nil {
		return nil, err
	}
	b, err := proto.Marshal(&pb.ModelInferRequest{
		ModelName: t.site.Model, ModelVersion: t.site.Version,
		Inputs:           []*pb.ModelInferRequest_InferInputTensor{{Name: in.Name, Datatype: kind, Shape: shapeOf(kind, *in, images)}},
		RawInputContents: [][]byte{rawTensor(kind, images)},
	})
	if err != nil {
		return nil, err
	}
	return &grpcRequest{bytes: b, images: len(images)}, nil
}

func (t *grpcTarget) modelInput(kind string) (*tensorInput, error) {
	t.once.Lock()
	defer t.once.Unlock()
	if t.input != nil {
		return t.input, nil
	}
	var m *pb.ModelMetadataResponse
	err := t.ask(context.Background(), func(ctx context.Context, c pb.GRPCInferenceServiceClient) (err error) {
		m, err = c.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: t.site.Model, Version: t.site.Version})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking for the inputs of %q: %w", t.site.Model, err)
	}
	var all []tensorInput
	for _, i := range m.Inputs {
		all = append(all, tensorInput{i.Name, i.Datatype, i.Shape})
	}
	t.input, err = onlyInput(all, kind)
	return t.input, err
}

// ask calls the server over a connection of its own, untimed.
func (t *grpcTarget) ask(ctx context.Context, f func(context.Context, pb.GRPCInferenceServiceClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.site.Timeout)
	defer cancel()
	cc, err := t.dial(t.site.Dialer)
	if err != nil {
		return err
	}
	defer cc.Close()
	return f(metadata.NewOutgoingContext(ctx, t.headers), pb.NewGRPCInferenceServiceClient(cc))
}

const maxMessage = maxBody

// dial makes a client connection over a dialer; nothing is opened yet.
func (t *grpcTarget) dial(dialer DialFunc, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if t.site.secure {
		security = credentials.NewTLS(t.site.tlsConfig("h2"))
	}
	return grpc.NewClient("passthrough:///"+t.site.address, append(more,
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dialer(ctx, "tcp", address) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithUserAgent("vitrine-bench"))...)
}

// Dial opens a connection, unless each request opens its own.
func (t *grpcTarget) Dial(ctx context.Context) (Conn, error) {
	c := &grpcConn{target: t, timeout: t.site.Timeout}
	if t.site.NewConnection {
		return c, nil
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.site.Timeout)
	defer cancel()
	if err := ready(ctx, c.cc); err != nil {
		_ = c.Close() // the reason for not connecting says more
		return nil, fmt.Errorf("target %s: %w", t.site.Name, err)
	}
	return c, nil
}

// ready waits until a connection is open, or has failed once.
func ready(ctx context.Context, cc *grpc.ClientConn) error {
	cc.Connect()
	for {
		state := cc.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return fmt.Errorf("the gRPC connection could not be opened")
		}
		if !cc.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
	}
}

// Describe asks for the server's metadata.
func (t *grpcTarget) Describe(ctx context.Context) (record.Server, error) {
	var m *pb.ServerMetadataResponse
	err := t.ask(ctx, func(ctx context.Context, c pb.GRPCInferenceServiceClient) (err error) {
		m, err = c.ServerMetadata(ctx, &pb.ServerMetadataRequest{})
		return err
	})
	if err != nil {
		return record.Server{}, fmt.Errorf("target %s: %w", t.site.Name, err)
	}
	return record.Server{Software: strings.ToLower(m.Name), Version: m.Version}, nil
}

// Close does nothing: connections are closed one by one.
func (t *grpcTarget) Close() error { return nil }
