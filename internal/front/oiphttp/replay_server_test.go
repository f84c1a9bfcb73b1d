package oiphttp_test

import (
	"net"
	"testing"

	"github.com/vitrine-project/vitrine/internal/oip"
)

func serve(t *testing.T) string {
	_ = oip.NewServer(registry(t), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
