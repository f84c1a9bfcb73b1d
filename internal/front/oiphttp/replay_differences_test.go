package oiphttp_test

import (
	"bytes"
	"fmt"
	"slices"
)

// difference is a way in which Vitrine answers otherwise than Triton 2.51, on purpose.
type difference struct {
	reason string
	// cases are names of transcripts, or patterns of path.Match in which | stands for the names' /.
	cases []string
	n     int // answers to read, where they are more than Triton's
	// check says what is wrong with the answers, "" for nothing.
	check func(want, got []answer) string
}

// status accepts one answer, of one of the codes.
func status(codes ...int) func(want, got []answer) string { return statuses(1, codes...) }

// statuses accepts n answers, each of one of the codes.
func statuses(n int, codes ...int) func(want, got []answer) string {
	return func(_, got []answer) string {
		if len(got) != n {
			return fmt.Sprintf("%d answers, want %d", len(got), n)
		}
		for _, a := range got {
			if !slices.Contains(codes, a.Status) {
				return fmt.Sprintf("status %d, want one of %v: %s", a.Status, codes, brief(a.Body))
			}
		}
		return ""
	}
}

// says accepts one answer of the code whose body holds the text.
func says(code int, text string) func(want, got []answer) string {
	return func(want, got []answer) string {
		if problem := status(code)(want, got); problem != "" {
			return problem
		}
		if !bytes.Contains(got[0].Body, []byte(text)) {
			return fmt.Sprintf("%s does not say %q", brief(got[0].Body), text)
		}
		return ""
	}
}

// differences are all that are allowed. A case of theirs that answers as Triton does fails the test, so
// that the list stays true.
var differences = []difference{
	{
		reason: "paths outside /v2 are other fronts': their 404 has no JSON",
		cases:  []string{"GET |", "GET |v1", "GET |v2x", "GET |metrics", "GET |V2"}, check: status(404),
	},
	{
		reason: "a negative rate of traces is refused; Triton takes it for 4294967293",
		cases:  []string{"*a negative trace rate*"}, check: says(400, "expect value >= 0, got: -3"),
	},
	{
		reason: "the mux sends clients to the path without the double slash",
		cases:  []string{"GET ||v2"}, check: status(307),
	},
	{
		reason: "a plain defect: Triton answers the first of two GETs that come together and forgets the second",
		cases:  []string{"two GETs at once"}, n: 2, check: statuses(2, 200),
	},
	{
		reason: "a plain defect: Triton closes the connection at a chunk extension",
		cases:  []string{"a chunk extension and a trailer"}, check: status(200),
	},
	{
		reason: "a plain defect: the request ends Triton's process",
		cases:  []string{"simple: a huge dimension", "simple_identity: classes of strings"}, check: status(400),
	},
	{
		reason: "a plain defect: Triton writes past the end of the region",
		cases:  []string{"simple: an output past the region"}, check: says(400, "Invalid offset + byte size for shared memory region: 'half'"),
	},
	{
		reason: "HTTP: what cannot be a request is answered 400 before the connection is closed; Triton only closes it, or waits",
		cases: []string{"no version", "no HTTP", "a header without a colon", "a chunk length that is no number",
			"a Content-Length that is no number", "a negative Content-Length"}, check: status(400, 500),
	},
	{
		reason: "HTTP: a request has one Host, a path has no zero byte and no broken escape",
		cases:  []string{"no Host", "two Hosts", "a zero in the path", "a bad escape in the path"}, check: status(400),
	},
	{
		reason: "HTTP: lines may end in LF; an obsolete folded line is a space",
		cases:  []string{"lines that end in LF", "a folded header"}, check: status(200),
	},
	{reason: "HTTP: a version that the server does not speak is 505", cases: []string{"another version"}, check: status(505)},
	{reason: "HTTP: an expectation that cannot be met is 417", cases: []string{"an unknown Expect"}, check: status(417)},
	{reason: "HTTP: an unknown transfer coding is 501", cases: []string{"an unknown transfer encoding"}, check: status(501)},
	{
		reason: "HTTP: chunks win over Content-Length; Triton reads the shorter and takes the rest for a new request",
		cases:  []string{"both lengths"}, check: status(200),
	},
	{reason: "HTTP: an empty field is as good as none", cases: []string{"a body in ''"}, check: status(200)},
	{
		reason: "the last model unloads at once; Triton's was still at it",
		cases:  []string{"the index at the end"}, check: says(200, `{"name":"unloaded","version":"1","state":"UNAVAILABLE","reason":"unloaded"}`),
	},
	{
		reason: "control tensors of sequences are the sample engine's own and not declared",
		cases:  []string{"GET |v2|models|simple_sequence|config", "GET |v2|models|simple_dyna_sequence|config"}, check: status(200),
	},
	{
		reason: "safety: shapes whose product overflows are refused as such, as later Tritons do",
		cases:  []string{"simple: a dimension too large", "simple: a product that overflows"}, check: says(400, "invalid shape for input 'INPUT0'"),
	},
	{
		reason: "CUDA shared memory is not there without the CUDA engine",
		cases:  []string{"POST |v2|cudasharedmemory|region|r|register", "registering CUDA memory without fields"}, check: says(501, "CUDA"),
	},
	{
		reason: "Triton was still unloading; here an unload is over when it is answered",
		cases:  []string{"the index at the end"}, check: says(200, `{"name":"unloaded","version":"1","state":"UNAVAILABLE","reason":"unloaded"}`),
	},
	{
		reason: "a load that fails says why",
		cases:  []string{"POST |v2|repository|models|broken|load"}, check: says(500, "dimension must be integer >= 1"),
	},
	{
		reason: "a load that fails says why",
		cases:  []string{"POST |v2|repository|models|misspelt|load"},
		check:  says(500, `misspelt/config.pbtxt: 4:10: Message type \"inference.ModelConfig\" has no field named \"max_delay\".`),
	},
	{
		reason: "a load that fails says why",
		cases:  []string{"loading with a config that is no document", "loading with a file without a config", "loading with an unknown field in config"},
		check:  says(500, "config"),
	},
}
