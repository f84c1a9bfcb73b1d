// Package vitrine is the root of the module; the server and the laboratory start in cmd/vitrine, the
// public client is in client. READING.md shows the path of a request.
package vitrine
