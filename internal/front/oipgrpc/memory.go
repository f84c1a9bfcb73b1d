package oipgrpc

import (
	"context"

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

// CudaSharedMemoryStatus implements the service.
func (s *Server) CudaSharedMemoryStatus(_ context.Context, r *pb.CudaSharedMemoryStatusRequest) (*pb.CudaSharedMemoryStatusResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	all, err := o.Regions.CUDAStatus(r.Name)
	if err != nil {
		return nil, err
	}
	answer := &pb.CudaSharedMemoryStatusResponse{Regions: map[string]*pb.CudaSharedMemoryStatusResponse_RegionStatus{}}
	for _, g := range all {
		answer.Regions[g.Name] = &pb.CudaSharedMemoryStatusResponse_RegionStatus{Name: g.Name, DeviceId: g.Device, ByteSize: g.ByteSize}
	}
	return answer, nil
}

// CudaSharedMemoryRegister implements the service.
func (s *Server) CudaSharedMemoryRegister(_ context.Context, r *pb.CudaSharedMemoryRegisterRequest) (*pb.CudaSharedMemoryRegisterResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	// A negative number is one of no device either way.
	return &pb.CudaSharedMemoryRegisterResponse{}, o.Regions.RegisterCUDA(r.Name, r.RawHandle, uint64(r.DeviceId), r.ByteSize)
}

// CudaSharedMemoryUnregister implements the service; without a name it is all regions. Where no card is it is no
// error, as in Triton: clients clear both kinds of memory before they use one.
func (s *Server) CudaSharedMemoryUnregister(_ context.Context, r *pb.CudaSharedMemoryUnregisterRequest) (*pb.CudaSharedMemoryUnregisterResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	o.Regions.UnregisterCUDA(r.Name)
	return &pb.CudaSharedMemoryUnregisterResponse{}, nil
}
