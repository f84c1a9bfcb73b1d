package oipgrpc

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/front"
)

// statusOf is what the client is told of an error; a status stays what it is.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return s.GRPCStatus().Err()
	}
	return status.Error(codes.Code(front.GRPCCode(err)), front.Message(err))
}

// errStopping ends a stream of a server that shuts down.
var errStopping = fault.New(fault.Unavailable, "the server is shutting down")

// errPanic is all that a client hears of a panic.
var errPanic = errors.New("panic")
