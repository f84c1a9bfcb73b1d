package hub

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const publicEndpoint = "https://huggingface.co"

// fill takes what is not given from the environment.
func (o *PullOptions) fill() error {
	home, err := hubHome()
	if err != nil && o.CacheDir == "" {
		return err
	}
	o.Endpoint = strings.TrimRight(first(o.Endpoint, os.Getenv("HF_ENDPOINT"), publicEndpoint), "/")
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("endpoint %q is not an http or https address", o.Endpoint)
	}
	if o.CacheDir == "" {
		o.CacheDir = first(os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub"))
	}
	if o.Token == "" {
		o.Token = token(home)
	}
	o.Offline = o.Offline || isTrue(os.Getenv("HF_HUB_OFFLINE"))
	o.Contact = or(o.Contact, 3*time.Second)
	o.LockWait = or(o.LockWait, 10*time.Minute)
	o.Backoff = or(o.Backoff, 500*time.Millisecond)
	return nil
}

func hubHome() (string, error) {
	if h := os.Getenv("HF_HOME"); h != "" {
		return h, nil
	}
	if h := os.Getenv("XDG_CACHE_HOME"); h != "" {
		return filepath.Join(h, "huggingface"), nil
	}
	h, err := os.UserHomeDir()
	return filepath.Join(h, ".cache", "huggingface"), err
}

// token is HF_TOKEN or the content of the file that `hf auth login` writes.
func token(home string) string {
	if t := first(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN")); t != "" {
		return strings.TrimSpace(t)
	}
	if isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return ""
	}
	text, err := os.ReadFile(first(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
