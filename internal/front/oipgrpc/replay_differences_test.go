package oipgrpc_test

import "google.golang.org/grpc/codes"

// difference is a way in which Vitrine answers otherwise than Triton 2.51, on purpose: the code and a
// text that its answer holds.
type difference struct {
	reason string
	code   codes.Code
	text   string
}

const (
	strictReason = "a strict stream ends with the first error as its status, as Triton's documentation has it; 2.51 does so for errors of models only"
	twice        = "a plain defect: Triton adds the offset of a region in its object twice, and writes outside of the region"
)

// differences are all that are allowed, by the call's name. A call of theirs that answers as Triton does
// fails the test, so that the list stays true.
var differences = map[string]difference{
	"stream: strict: unknown":            {strictReason, codes.NotFound, "Request for unknown model: 'nope' is not found"},
	"stream: strict: a request":          {strictReason, codes.InvalidArgument, "expected 2 inputs but got 1"},
	"stream: strict: good, then unknown": {strictReason, codes.NotFound, "Request for unknown model: 'nope' is not found"},
	"statistics: failing ":               {"a request that fails counts as failed; Triton's Python backend counts it as answered", codes.OK, "fail:{count:4"},
	"shared memory: an output of negative bytes": {"safety: Triton takes a negative size for a very large one", codes.InvalidArgument,
		"Invalid offset + byte size for shared memory region: 'all'"},
	"cuda register":      {"CUDA shared memory is not there without the CUDA engine", codes.Unimplemented, "CUDA"},
	"register: no bytes": {"Triton's words depend on the regions before; these are those of the corpus over HTTP", codes.Internal, "Invalid shared memory region"},
	"shared memory: an output of another region":              {twice, codes.OK, ""},
	"shared memory: an output at an offset of another region": {twice, codes.OK, ""},
	"shared memory: an output past the end of another region": {twice, codes.InvalidArgument, "Invalid offset + byte size for shared memory region: 'half'"},
}
