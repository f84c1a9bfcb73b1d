package oipgrpc

import (
	"context"
	"strings"

	"google.golang.org/grpc/tap"

	"github.com/vitrine-project/vitrine/internal/front/door"
	"github.com/vitrine-project/vitrine/internal/telemetry"
)

// groups are the methods of the service with their restricted groups, by Triton's division.
var groups = map[string]door.Group{
	"ServerLive": door.Health, "ServerReady": door.Health, "ModelReady": door.Health,
	"ServerMetadata": door.Metadata, "ModelMetadata": door.Metadata,
	"ModelInfer": door.Inference, "ModelStreamInfer": door.Inference,
	"SystemSharedMemoryStatus": door.SharedMemory, "SystemSharedMemoryRegister": door.SharedMemory, "SystemSharedMemoryUnregister": door.SharedMemory,
	"CudaSharedMemoryStatus": door.SharedMemory, "CudaSharedMemoryRegister": door.SharedMemory, "CudaSharedMemoryUnregister": door.SharedMemory,
	"ModelConfig":     door.ModelConfig,
	"RepositoryIndex": door.ModelRepository, "RepositoryModelLoad": door.ModelRepository, "RepositoryModelUnload": door.ModelRepository,
	"ModelStatistics": door.Statistics, "TraceSetting": door.Trace, "LogSettings": door.Logging,
}

const healthPrefix = "/grpc.health.v1.Health/"

// place tells a method's group, whether it is a probe, which needs no key, and the name by which metrics
// know it.
func place(method string) (group door.Group, probe bool, route string) {
	if strings.HasPrefix(method, healthPrefix) {
		return door.Health, true, healthPrefix + "Check"
	}
	name, ours := strings.CutPrefix(method, servicePrefix)
	if group, known := groups[name]; ours && known {
		return group, name == "ServerLive" || name == "ServerReady", method
	}
	return "", false, "unknown" // reflection, and what there is not: a client's text is no label
}

// keyName is the context's key of the name of the client's API key.
type keyName struct{}

// admit decides on a call when its headers have come, before any of its messages is read: its API key,
// its group's header, and whether there is memory for it.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	group, probe, route := place(info.FullMethodName)
	refuse := func(err error) (context.Context, error) {
		r := telemetry.Record{ID: telemetry.NewRequestID(), Route: route, Err: err}
		r.Timeline.Mark(telemetry.Received)
		s.report(ctx, &r)
		return nil, statusOf(err)
	}
	if !probe {
		name, err := s.o.Guard.Admit(info.Header["authorization"], info.Header["x-api-key"])
		if err != nil {
			return refuse(err)
		}
		if name != "" {
			ctx = context.WithValue(ctx, keyName{}, name)
		}
	}
	if err := s.o.Guard.RestrictedGRPC(group, info.Header); err != nil {
		return refuse(err)
	}
	if group == door.Inference && s.memory.full() {
		return refuse(s.memory.exhausted())
	}
	return ctx, nil
}
