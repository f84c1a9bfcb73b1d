package client

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Error is a request that the server refused or could not answer.
type Error struct {
	Status     int           // HTTP status: 422 a bad image or option, 429 a full queue, 503 not ready, ...
	Message    string        // what the server says
	Item       int           // index of the image concerned, -1 if the whole request is
	RetryAfter time.Duration // how long to wait before the same request; 0 if waiting does not help
	RequestID  string        // for the server's log
}

func (e *Error) Error() string {
	return fmt.Sprintf("server answered %d %s: %s", e.Status, http.StatusText(e.Status), e.Message)
}

// Temporary tells whether the same request may succeed later.
func (e *Error) Temporary() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func readError(r *http.Response, body []byte) error {
	e := &Error{Status: r.StatusCode, RequestID: r.Header.Get("X-Request-Id")}
	e.Message, e.Item = detail(body)
	if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// ItemsError lists the images of a partial request that could not be embedded.
type ItemsError struct{ Items []int }

func (e *ItemsError) Error() string {
	return fmt.Sprintf("client: %d images could not be embedded: %v", len(e.Items), e.Items)
}
