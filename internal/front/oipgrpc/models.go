package oipgrpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// ready tells whether every model is, and the server means to go on.
func (s *Server) ready() bool {
	o, err := s.server()
	return err == nil && !s.notReady.Load() && o.Models.Ready()
}

// Check implements grpc.health.v1; as in Triton the answer is the server's, whatever service is named.
func (s *Server) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	state := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if s.ready() {
		state = grpc_health_v1.HealthCheckResponse_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: state}, nil
}

// ServerLive implements the service.
func (s *Server) ServerLive(context.Context, *pb.ServerLiveRequest) (*pb.ServerLiveResponse, error) {
	return &pb.ServerLiveResponse{Live: true}, nil
}

// ServerReady implements the service.
func (s *Server) ServerReady(context.Context, *pb.ServerReadyRequest) (*pb.ServerReadyResponse, error) {
	return &pb.ServerReadyResponse{Ready: s.ready()}, nil
}

// ServerMetadata implements the service.
func (s *Server) ServerMetadata(context.Context, *pb.ServerMetadataRequest) (*pb.ServerMetadataResponse, error) {
	return &pb.ServerMetadataResponse{Name: oip.ServerName, Version: oip.ServerVersion, Extensions: oip.Extensions}, nil
}

// ModelReady implements the service; an unknown model is not ready.
func (s *Server) ModelReady(_ context.Context, r *pb.ModelReadyRequest) (*pb.ModelReadyResponse, error) {
	m, err := s.model(r.Name, r.Version)
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Unavailable:
		return &pb.ModelReadyResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &pb.ModelReadyResponse{Ready: m.Ready()}, nil
}

func (s *Server) model(name, version string) (oip.Model, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	return o.Models.Get(name, version)
}

// ModelMetadata implements the service.
func (s *Server) ModelMetadata(_ context.Context, r *pb.ModelMetadataRequest) (*pb.ModelMetadataResponse, error) {
	m, err := s.model(r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	meta := m.Metadata()
	versions := []string{meta.Version}
	if r.Version == "" {
		versions = s.oip.Load().Models.Versions(r.Name)
	}
	return &pb.ModelMetadataResponse{Name: meta.Name, Versions: versions, Platform: meta.Platform,
		Inputs: specs(meta.Inputs), Outputs: specs(meta.Outputs)}, nil
}

func specs(all []oip.TensorSpec) (out []*pb.ModelMetadataResponse_TensorMetadata) {
	for i := range all {
		out = append(out, &pb.ModelMetadataResponse_TensorMetadata{Name: all[i].Name, Datatype: all[i].DType.String(), Shape: all[i].Shape})
	}
	return out
}

// ModelConfig implements the service.
func (s *Server) ModelConfig(_ context.Context, r *pb.ModelConfigRequest) (*pb.ModelConfigResponse, error) {
	m, err := s.model(r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	c, err := configuration(m.Config())
	return &pb.ModelConfigResponse{Config: c}, err
}

// configuration goes by way of the JSON that HTTP answers, which is protobuf's own mapping.
func configuration(c *oip.Config) (*pb.ModelConfig, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a model configuration: %w", err)
	}
	message := &pb.ModelConfig{}
	if err := protojson.Unmarshal(text, message); err != nil {
		return nil, fmt.Errorf("a model configuration that is none of Triton's: %w", err)
	}
	return message, nil
}

// ModelStatistics implements the service.
func (s *Server) ModelStatistics(_ context.Context, r *pb.ModelStatisticsRequest) (*pb.ModelStatisticsResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	models, err := o.Models.Models(r.Name, versionOf(r.Name, r.Version))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil, fault.New(fault.Invalid, "requested model '%s' is not available", r.Name)
	}
	if err != nil {
		return nil, err
	}
	answer := &pb.ModelStatisticsResponse{}
	for _, m := range models {
		answer.ModelStats = append(answer.ModelStats, statistics(m))
	}
	return answer, nil
}

// versionOf ignores a version without a name, as Triton does.
func versionOf(name, version string) string {
	if name == "" {
		return ""
	}
	return version
}

func statistics(m oip.Model) *pb.ModelStatistics {
	meta, st := m.Metadata(), m.Statistics()
	i := &st.Infer
	answer := &pb.ModelStatistics{
		Name: meta.Name, Version: meta.Version, LastInference: st.LastInference,
		InferenceCount: st.InferenceCount, ExecutionCount: st.ExecutionCount,
		InferenceStats: &pb.InferStatistics{
			Success: duration(i.Success), Fail: duration(i.Fail), Queue: duration(i.Queue),
			ComputeInput: duration(i.ComputeInput), ComputeInfer: duration(i.ComputeInfer), ComputeOutput: duration(i.ComputeOutput),
			CacheHit: duration(i.CacheHit), CacheMiss: duration(i.CacheMiss),
		},
	}
	for _, b := range st.Batches {
		answer.BatchStats = append(answer.BatchStats, &pb.InferBatchStatistics{BatchSize: b.BatchSize,
			ComputeInput: duration(b.ComputeInput), ComputeInfer: duration(b.ComputeInfer), ComputeOutput: duration(b.ComputeOutput)})
	}
	return answer
}

func duration(d oip.Duration) *pb.StatisticDuration {
	return &pb.StatisticDuration{Count: d.Count, Ns: d.Ns}
}

// repository refuses a repository's name, which only servers of several have.
func (s *Server) repository(name string) (*oip.Registry, error) {
	if name != "" {
		return nil, fault.New(fault.Unimplemented, "'repository_name' specification is not supported")
	}
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	return o.Models, nil
}

// RepositoryIndex implements the service.
func (s *Server) RepositoryIndex(_ context.Context, r *pb.RepositoryIndexRequest) (*pb.RepositoryIndexResponse, error) {
	models, err := s.repository(r.RepositoryName)
	if err != nil {
		return nil, err
	}
	answer := &pb.RepositoryIndexResponse{}
	for _, e := range models.Index(r.Ready) {
		answer.Models = append(answer.Models, &pb.RepositoryIndexResponse_ModelIndex{Name: e.Name, Version: e.Version, State: e.State, Reason: e.Reason})
	}
	return answer, nil
}

// RepositoryModelLoad implements the service.
func (s *Server) RepositoryModelLoad(ctx context.Context, r *pb.RepositoryModelLoadRequest) (*pb.RepositoryModelLoadResponse, error) {
	models, err := s.repository(r.RepositoryName)
	if err != nil {
		return nil, err
	}
	config, files := "", map[string][]byte{}
	for k, p := range r.Parameters {
		switch v := p.GetParameterChoice().(type) {
		case *pb.ModelRepositoryParameter_StringParam:
			if k == "config" {
				config = v.StringParam
				continue
			}
		case *pb.ModelRepositoryParameter_BytesParam:
			if strings.HasPrefix(k, "file:") {
				files[k] = v.BytesParam
				continue
			}
		}
		return nil, loadParameter(k)
	}
	return &pb.RepositoryModelLoadResponse{}, models.Load(ctx, r.ModelName, config, files)
}

// loadParameter is what is wrong with a parameter of a load.
func loadParameter(k string) error {
	switch {
	case k == "config":
		return fault.New(fault.Invalid, "invalid value type for load parameter '%s', expected string_param.", k)
	case strings.HasPrefix(k, "file:"):
		return fault.New(fault.Invalid, "invalid value type for load parameter '%s', expected bytes_param.", k)
	}
	return fault.New(fault.Invalid, "unrecognized load parameter '%s'.", k)
}

// RepositoryModelUnload implements the service.
func (s *Server) RepositoryModelUnload(_ context.Context, r *pb.RepositoryModelUnloadRequest) (*pb.RepositoryModelUnloadResponse, error) {
	models, err := s.repository(r.RepositoryName)
	if err != nil {
		return nil, err
	}
	if p, ok := r.Parameters["unload_dependents"]; ok {
		// No model depends on another here, so the value decides nothing.
		if _, ok := p.GetParameterChoice().(*pb.ModelRepositoryParameter_BoolParam); !ok {
			return nil, fault.New(fault.Invalid, "invalid value type for 'unload_dependents' parameter, expected bool_param.")
		}
	}
	return &pb.RepositoryModelUnloadResponse{}, models.Unload(r.ModelName)
}
