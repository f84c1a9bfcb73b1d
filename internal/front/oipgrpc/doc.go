// Package oipgrpc carries the Open Inference Protocol over gRPC: Triton's GRPCInferenceService, with
// health checks and reflection. Inference requests are decoded by hand, straight from the transport's
// buffers, since the generated code would allocate every tensor; all other messages are generated.
package oipgrpc
