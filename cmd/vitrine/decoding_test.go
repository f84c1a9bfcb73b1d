package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// noLibrary names a libnvjpeg that is not there.
const noLibrary = "/nowhere/libnvjpeg.so.13"

// TestDecodeOnCardsThatAreMissing: asked for by name it is an error that says what is missing, with auto a warning and the
// processor decodes.
func TestDecodeOnCardsThatAreMissing(t *testing.T) {
	r := launch(t, "--engine", "null", "--decode", "nvjpeg", "--nvjpeg", noLibrary)
	r.exit(exitFailure)
	if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, "--decode nvjpeg") || !strings.Contains(log, noLibrary) {
		t.Errorf("the reason is not told: %s", log)
	}
	r = start(t, "--engine", "null", "--decode", "auto", "--nvjpeg", noLibrary)
	r.waitFor("no card helps to decode JPEG")
	if status, _, body := do(t, "POST", r.url+"/embed", bytes.NewReader(photo(t, "astronaut.jpg"))); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := do(t, "GET", r.metrics+"/metrics", nil); status != http.StatusOK || strings.Contains(string(body), "vitrine_decoded_images_total{") {
		t.Errorf("%d: metrics of cards that are not there", status)
	}
	r.signal()
	r.exit(exitOK)
}

func TestDecodeRefusesOtherWords(t *testing.T) {
	r := launch(t, "--engine", "null", "--decode", "gpu")
	r.exit(exitUsage)
	if log := strings.Join(r.rest(), "\n"); !strings.Contains(log, "cpu") || !strings.Contains(log, "nvjpeg") {
		t.Errorf("what is possible is not told: %s", log)
	}
}
