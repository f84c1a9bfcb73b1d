package oiphttp_test

import (
	"fmt"
	"slices"
)

// difference is a way in which Vitrine answers otherwise than Triton 2.51, on purpose.
type difference struct {
	reason string
	// cases are names of transcripts, or patterns of path.Match in which | stands for the names' /.
	cases []string
	// answers, where they are given, take the place of Triton's; else check says what is wrong, "" for nothing.
	answers []answer
	check   func(got []answer) string
}

// status accepts one answer of one of the codes; an answer that the HTTP library gives has no body to compare.
func status(codes ...int) func([]answer) string { return statuses(1, codes...) }

// statuses accepts n answers, each of one of the codes.
func statuses(n int, codes ...int) func([]answer) string {
	return func(got []answer) string {
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

// differences are all that are allowed. A case of theirs that answers as Triton does fails the test, so
// that the list stays true.
var differences = []difference{
	{
		reason: "HTTP: HEAD is answered as GET, without a body; Triton refuses it and sends the body all the same",
		cases:  []string{"HEAD |v2", "HEAD |v2|health|live", "HEAD |v2|models|simple"}, check: status(200),
	},
	{
		reason: "HTTP: HEAD is answered as GET, without a body",
		cases:  []string{"HEAD |v2|models|none"}, check: status(404),
	},
	{
		reason: "a plain defect: Triton answers the first of two GETs that come together and forgets the second",
		cases:  []string{"two GETs at once"}, check: statuses(2, 200),
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
		reason: "HTTP: what cannot be a request is answered 400 before the connection is closed; Triton only closes it, or waits",
		cases: []string{"no version", "no HTTP", "a header without a colon", "a chunk length that is no number",
			"a Content-Length that is no number", "a negative Content-Length"}, check: status(400, 500),
	},
}
