// Package pb holds the messages and the service of the Open Inference Protocol over gRPC, generated
// from the .proto files beside it.
package pb

// Needs protoc 3.21, protoc-gen-go v1.36.12 and protoc-gen-go-grpc v1.6.2; their output is committed.
//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative grpc_service.proto model_config.proto
