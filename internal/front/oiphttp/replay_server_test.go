package oiphttp_test

import (
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/vitrine-project/vitrine/internal/front"
	"github.com/vitrine-project/vitrine/internal/front/oiphttp"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/oip/transcript"
)

// serve starts the API over the recorded server's models on loopback and returns its address.
func serve(t *testing.T, o front.Options) string {
	t.Helper()
	mux := http.NewServeMux()
	oiphttp.New(oiphttp.Options{Front: front.New(o), Server: oip.NewServer(transcript.Registry(t), nil)}).Register(mux)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := front.NewServer(mux, front.ServerOptions{})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}
