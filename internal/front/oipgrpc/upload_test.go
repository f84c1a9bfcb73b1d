package oipgrpc

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// halfSent starts a call whose message never ends; the channel gets its status, as text.
func halfSent(t *testing.T, address, method string) <-chan string {
	t.Helper()
	body, half := io.Pipe()
	t.Cleanup(func() { _ = half.Close() })
	statuses := make(chan string, 1)
	go func() {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		req, err := http.NewRequest("POST", "http://"+address+method, body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
		response, err := transport.RoundTrip(req)
		if err != nil {
			statuses <- err.Error()
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		statuses <- response.Header.Get("Grpc-Status") + response.Trailer.Get("Grpc-Status")
	}()
	if _, err := half.Write([]byte("\x00\x00\x01\x00\x00half")); err != nil {
		t.Fatal(err)
	}
	return statuses
}

func (u *uploads) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.waiting)
}

// TestRefuseUploads has calls of which only half has arrived hold a shutdown up, and ends them; a call that
// has arrived is answered.
func TestRefuseUploads(t *testing.T) {
	s := New(Options{})
	s.SetServer(newOIP(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	methods := []string{servicePrefix + "ModelInfer", servicePrefix + "ModelMetadata", healthPrefix + "Check"}
	var halves []<-chan string
	for _, m := range methods {
		halves = append(halves, halfSent(t, l.Addr().String(), m))
	}
	for s.uploads.count() < len(methods) {
		runtime.Gosched()
	}
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stopped := make(chan error, 1)
	c := pb.NewGRPCInferenceServiceClient(conn)
	if _, err := c.ModelInfer(t.Context(), sound()); err != nil {
		t.Fatal(err)
	}
	go func() { stopped <- s.Shutdown(t.Context()) }()
	<-s.stopping
	if n := s.RefuseUploads(); n != len(methods) {
		t.Errorf("%d calls are refused, want %d", n, len(methods))
	}
	for i, half := range halves {
		if code := <-half; code != "14" {
			t.Errorf("%s ended with %s, want 14, unavailable", methods[i], code)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := s.uploads.count(); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}

// A call that comes after RefuseUploads, on a connection that is open still, ends at once.
func TestLateUploads(t *testing.T) {
	s, conn := start(t, Options{})
	s.SetServer(newOIP(t))
	s.RefuseUploads()
	_, err := pb.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), sound())
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the server is shutting down") {
		t.Errorf("%v", err)
	}
}
