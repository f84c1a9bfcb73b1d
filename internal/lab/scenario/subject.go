package scenario

import (
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/plan"
	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// writeSubject writes a target's subject, once, and again when more is known of it: up tells that the
// server can be asked.
func (r *Runner) writeSubject(ctx context.Context, j *job, up bool) error {
	t := j.target
	s := record.Subject{Name: t.Name, URL: t.URL, Format: t.Format, Model: t.Model, Labels: r.labels(t)}
	before, known := r.subjects[t.Name]
	s.Server = before.Server
	switch {
	case t.InProcess() && known, known && before.Server.Software != "":
		return nil
	case up && !t.InProcess():
		s.Server = r.describe(ctx, t)
	}
	if known && reflect.DeepEqual(s, before) {
		return nil
	}
	r.subjects[t.Name] = s
	return r.Log.Write(s)
}

// describeWithin bounds asking a server what it is.
const describeWithin = 5 * time.Second

// describe asks a server what it is; one that does not tell is no error.
func (r *Runner) describe(ctx context.Context, t *plan.Target) record.Server {
	ctx, cancel := context.WithTimeout(ctx, describeWithin)
	defer cancel()
	to, err := r.dial(ctx, t, record.Params{Timeout: describeWithin}, nil)
	if err != nil {
		return record.Server{}
	}
	defer to.Close()
	s, err := to.Describe(ctx)
	if err != nil {
		return record.Server{}
	}
	return s
}

// metricsURL is where a target's server has its metrics, or "". Where the plan does not say, Triton's and
// Vitrine's own port is asked, and then the target itself.
func (r *Runner) metricsURL(ctx context.Context, t *plan.Target) string {
	given := t.Metrics
	if v := r.Study.Server(t.Server); given == "" && v != nil {
		given = v.Metrics
	}
	if given != "" || t.InProcess() {
		return strings.TrimPrefix(given, "off")
	}
	if guess, ok := r.guessed[t.URL]; ok {
		return guess
	}
	for _, guess := range metricsGuesses(t.URL) {
		if isMetrics(ctx, guess) {
			r.guessed[t.URL] = guess
			return guess
		}
	}
	r.guessed[t.URL] = ""
	return ""
}

const metricsPort = "8002"

func metricsGuesses(target string) []string {
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	own := url.URL{Scheme: cmp.Or(u.Scheme, "http"), Host: u.Host, Path: "/metrics"}
	usual := url.URL{Scheme: "http", Host: net.JoinHostPort(u.Hostname(), metricsPort), Path: "/metrics"}
	if p := u.Port(); p != "8000" && p != "8001" { // another server's metrics would be worse than none
		return []string{own.String()}
	}
	return []string{usual.String(), own.String()}
}

// isMetrics tells whether a URL answers with Prometheus' text.
func isMetrics(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	head, err := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
	return err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(head), "# TYPE ")
}

// fillInput says in the cell what its inputs are.
func (r *Runner) fillInput(j *job) {
	in, err := r.inputs(j.run.Cell.Input)
	if err != nil || j.run.Cell.Input == "" {
		return // the scenario will fail on it with the reason
	}
	j.params().Input = in.about
	j.params().InputBytes = in.bytes(j.target.Format)
}

// input is a specification's images.
type input struct {
	images []target.Image
	about  string
}

// bytes is the mean size of an image as a format sends it, before framing.
func (in *input) bytes(format string) int {
	sum := 0
	for i := range in.images {
		sum += imageBytes(format, &in.images[i])
	}
	return sum / len(in.images)
}

func imageBytes(format string, m *target.Image) int {
	switch format {
	case target.OIPJSON:
		return len(jsonBody(m, 1, nil))
	case target.OIPBinary, target.OIPGRPC, target.InProcess:
		return 4 * len(m.Tensor)
	case target.OIPBinaryU8:
		return len(m.Pixels)
	case target.EmbedBase64, target.OpenAI:
		return base64.StdEncoding.EncodedLen(len(m.JPEG))
	}
	return len(m.JPEG)
}
