package oipgrpc

import (
	"context"

	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// SystemSharedMemoryStatus implements the service.
func (s *Server) SystemSharedMemoryStatus(_ context.Context, r *pb.SystemSharedMemoryStatusRequest) (*pb.SystemSharedMemoryStatusResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	all, err := o.Regions.Status(r.Name)
	if err != nil {
		return nil, err
	}
	answer := &pb.SystemSharedMemoryStatusResponse{Regions: map[string]*pb.SystemSharedMemoryStatusResponse_RegionStatus{}}
	for _, g := range all {
		answer.Regions[g.Name] = &pb.SystemSharedMemoryStatusResponse_RegionStatus{Name: g.Name, Key: g.Key, Offset: g.Offset, ByteSize: g.ByteSize}
	}
	return answer, nil
}

// SystemSharedMemoryRegister implements the service.
func (s *Server) SystemSharedMemoryRegister(_ context.Context, r *pb.SystemSharedMemoryRegisterRequest) (*pb.SystemSharedMemoryRegisterResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	return &pb.SystemSharedMemoryRegisterResponse{}, o.Regions.Register(r.Name, r.Key, r.Offset, r.ByteSize)
}

// SystemSharedMemoryUnregister implements the service; without a name it is all regions.
func (s *Server) SystemSharedMemoryUnregister(_ context.Context, r *pb.SystemSharedMemoryUnregisterRequest) (*pb.SystemSharedMemoryUnregisterResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	o.Regions.Unregister(r.Name)
	return &pb.SystemSharedMemoryUnregisterResponse{}, nil
}

// CudaSharedMemoryStatus implements the service: there are never any regions.
func (s *Server) CudaSharedMemoryStatus(_ context.Context, r *pb.CudaSharedMemoryStatusRequest) (*pb.CudaSharedMemoryStatusResponse, error) {
	_, err := oip.CUDAStatus(r.Name)
	return &pb.CudaSharedMemoryStatusResponse{}, err
}

// CudaSharedMemoryRegister implements the service.
func (s *Server) CudaSharedMemoryRegister(context.Context, *pb.CudaSharedMemoryRegisterRequest) (*pb.CudaSharedMemoryRegisterResponse, error) {
	return nil, oip.ErrCUDA
}

// CudaSharedMemoryUnregister implements the service. It is no error, as in a Triton without a GPU:
// clients clear both kinds of memory before they use one.
func (s *Server) CudaSharedMemoryUnregister(context.Context, *pb.CudaSharedMemoryUnregisterRequest) (*pb.CudaSharedMemoryUnregisterResponse, error) {
	return &pb.CudaSharedMemoryUnregisterResponse{}, nil
}
