// Package wire is the Open Inference Protocol's bodies over HTTP: JSON tensors and the binary tensor
// extension, both ways. It reads a request in one pass, tensors straight into their final bytes, and
// answers errors in the words and positions of Triton 2.51 (whose parser is RapidJSON).
//
// Of JSON it reads what that parser reads: RFC 8259, and beside it NaN, Inf and Infinity as numbers,
// a byte order mark, and strings that are not UTF-8, which pass through. Nested deeper than 100 levels
// tensor data is refused, as later versions of Triton refuse it.
package wire
