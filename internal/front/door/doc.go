// Package door decides who comes in, over HTTP and gRPC alike: API keys, TLS, and Triton's restricted
// groups of the protocol. Files that it reads are read again when they change; a new file that is broken
// leaves the old one in force.
package door
