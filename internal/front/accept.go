package front

import (
	"strconv"
	"strings"
)

// Negotiate returns the offer that an Accept header prefers; offers come in the server's order of
// preference. An empty header, and one that names none of the offers, gets the first: an answer in
// the usual form helps more than 406.
func Negotiate(accept string, offers ...string) string {
	best, bestQ := offers[0], 0.0
	if accept == "" || accept == "*/*" {
		return best
	}
	for _, offer := range offers {
		if q := quality(accept, offer); q > bestQ {
			best, bestQ = offer, q
		}
	}
	return best
}

// quality is the weight of the most specific range of accept that covers offer, 0 if none does.
func quality(accept, offer string) float64 {
	var q float64
	specific := 0
	for item := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(item, ";")
		if s := covers(strings.TrimSpace(name), offer); s > specific {
			specific, q = s, weight(params)
		}
	}
	return q
}

func covers(pattern, offer string) int {
	switch {
	case strings.EqualFold(pattern, offer):
		return 3
	case pattern == "*/*":
		return 1
	}
	if kind, ok := strings.CutSuffix(pattern, "/*"); ok && len(offer) > len(kind) && strings.EqualFold(offer[:len(kind)], kind) && offer[len(kind)] == '/' {
		return 2
	}
	return 0
}

func weight(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(k), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// MediaType is the lower-case type of a Content-Type header, without its parameters.
func MediaType(contentType string) string {
	name, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(name))
}
