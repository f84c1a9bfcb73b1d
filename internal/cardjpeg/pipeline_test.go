package cardjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver/drivertest"
	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/preproc"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

// TestRowsEqualTheProcessors: with a decoder that gives libjpeg's pixels the card's rows are the processor's to
// the byte, for every way of resizing, orientation, order of the passes and format of row.
func TestRowsEqualTheProcessors(t *testing.T) {
	var files [][]byte
	for orientation := 1; orientation <= 8; orientation++ {
		files = append(files, turnedPhoto(t, 70, 50, orientation), turnedPhoto(t, 33, 120, orientation))
	}
	files = append(files, photo(t, 32, 32, 1), photo(t, 20, 31, 2), photo(t, 32, 90, 3), photo(t, 90, 32, 4), photo(t, 1, 1, 5),
		photo(t, 40, 400, 6), photo(t, 400, 40, 7), greyPhoto(t, 80, 60))
	for _, how := range []preproc.Resize{preproc.Shortest, preproc.Squash, preproc.Longest} {
		for _, format := range []tensor.Format{tensor.FormatUint8HWC, tensor.FormatFloat32CHW, tensor.FormatFloat16CHW} {
			t.Run(fmt.Sprintf("%s/%v", how, format), func(t *testing.T) {
				f := &fake{}
				p, g := pretend(t, plan32(how), f, Options{Mode: Card})
				defer checkClosed(t, p, g)
				processor := onProcessor(t, plan32(how))
				for i, data := range files {
					want, got := newRow(format), newRow(format)
					if _, err := processor.Into(data, want); err != nil {
						t.Fatal(err)
					}
					info, err := p.Into(data, got)
					if err != nil || info.Format != preproc.JPEG || info.Width == 0 {
						t.Fatalf("file %d: %+v, %v", i, info, err)
					}
					if !bytes.Equal(got.memory, want.memory) {
						t.Errorf("file %d: rows differ", i)
					}
				}
				if s := p.Stats(); s.Cards != int64(len(files)) || s.Processor != 0 || s.Returned != 0 {
					t.Errorf("done where: %+v", s)
				}
			})
		}
	}
}

// TestProcessorTakesTheRest: what is not plain, what is damaged, what nvJPEG refuses and what exceeds the card's memory;
// and errors are the processor's own.
func TestProcessorTakesTheRest(t *testing.T) {
	refused := photo(t, 40, 40, 99)
	f := &fake{refuse: func(file []byte) bool { return bytes.Equal(file, refused) }}
	p, g := pretend(t, plan32(preproc.Shortest), f, Options{Mode: Card, Memory: 4 << 20})
	defer checkClosed(t, p, g)
	whole := photo(t, 70, 50, 1)
	progressive := bytes.Clone(whole)
	progressive[bytes.Index(whole, []byte{0xff, 0xc0})+1] = 0xc2
	for _, c := range []struct {
		name string
		data []byte
		kind fault.Kind // of the error
		ok   bool
		s    Stats
	}{
		{"taken", whole, 0, true, Stats{Cards: 1, Batches: 1}},
		{"refused", refused, 0, true, Stats{Processor: 1, Batches: 1, Returned: 1}},
		{"too large for the card", photo(t, 1000, 700, 1), 0, true, Stats{Processor: 1}},
		{"truncated", whole[:len(whole)-20], fault.Invalid, false, Stats{Processor: 1}},
		{"progressive, badly", progressive, fault.Invalid, false, Stats{Processor: 1}},
		{"text", []byte("hello"), fault.UnsupportedMedia, false, Stats{Processor: 1}},
	} {
		before := p.Stats()
		_, err := p.Into(c.data, newRow(tensor.FormatUint8HWC))
		if (err == nil) != c.ok || !c.ok && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
		after := p.Stats()
		got := Stats{after.Processor - before.Processor, after.Cards - before.Cards, after.Batches - before.Batches, after.Returned - before.Returned}
		if got != c.s {
			t.Errorf("%s: done where: %+v, want %+v", c.name, got, c.s)
		}
	}
	pix := bytes.Repeat([]byte{9}, 3*40*40)
	if err := p.PixelsInto(pix, 40, 40, newRow(tensor.FormatUint8HWC)); err != nil {
		t.Error(err)
	}
}

// TestSkipped: an image that the decoder said it decoded and did not is the processor's, and its neighbours are not.
func TestSkipped(t *testing.T) {
	bad := photo(t, 64, 48, 7)
	f := &fake{skip: func(file []byte) bool { return bytes.Equal(file, bad) }}
	p, g := pretend(t, plan32(preproc.Shortest), f, Options{Mode: Card})
	defer checkClosed(t, p, g)
	want, got := newRow(tensor.FormatUint8HWC), newRow(tensor.FormatUint8HWC)
	if _, err := onProcessor(t, plan32(preproc.Shortest)).Into(bad, want); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{photo(t, 64, 48, 8), bad} {
		if _, err := p.Into(data, got); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.memory, want.memory) {
		t.Error("the row is not the processor's")
	}
	if s := p.Stats(); s.Cards != 1 || s.Returned != 1 || s.Processor != 1 {
		t.Errorf("done where: %+v", s)
	}
}

// TestBatchFails: a batch that nvJPEG fails is decoded by the processor, the first failure is told aloud, and the card
// goes on.
func TestBatchFails(t *testing.T) {
	var log bytes.Buffer
	failing := false
	f := &fake{decode: func([][]byte) error {
		if failing {
			return errBad
		}
		return nil
	}}
	p, g := pretend(t, plan32(preproc.Shortest), f, Options{Mode: Card, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	data := photo(t, 64, 48, 1)
	for _, failing = range []bool{true, true, false} {
		if _, err := p.Into(data, newRow(tensor.FormatUint8HWC)); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.Stats(); s.Cards != 1 || s.Returned != 2 || s.Processor != 2 {
		t.Errorf("done where: %+v", s)
	}
	checkClosed(t, p, g)
	if n := strings.Count(log.String(), errBad.Error()); n != 1 {
		t.Errorf("the failure was told %d times", n)
	}
}

// TestCardLost: after a fatal error the processor decodes alone, nothing stays on the card, and Pause and resume
// bring it back.
func TestCardLost(t *testing.T) {
	f := &fake{}
	p, g := pretend(t, plan32(preproc.Shortest), f, Options{Mode: Card})
	data := photo(t, 64, 48, 1)
	g.Fail = func(call string) error {
		if call == "Synchronize" {
			return errLost
		}
		return nil
	}
	for range 3 {
		if _, err := p.Into(data, newRow(tensor.FormatUint8HWC)); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.Stats(); s.Cards != 0 || s.Processor != 3 {
		t.Errorf("done where: %+v", s)
	}
	resume := p.Pause(0)
	if l := g.Leaks(); len(l) > 0 {
		t.Errorf("left on the lost card: %v", l)
	}
	fresh := drivertest.New()
	fresh.Compute = compute(fresh)
	p.o.open = func(int) (driver.GPU, error) { return fresh, nil }
	p.o.codec = codecOn(fresh, f)
	resume()
	if _, err := p.Into(data, newRow(tensor.FormatUint8HWC)); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Cards != 1 {
		t.Errorf("after it came back: %+v", s)
	}
	checkClosed(t, p, fresh)
}

// TestPause of a card that was never opened does nothing; of one that is open, its images go to the processor.
func TestPause(t *testing.T) {
	p, g := pretend(t, plan32(preproc.Shortest), &fake{}, Options{Mode: Card})
	p.Pause(5)()
	if len(p.cards) != 1 {
		t.Errorf("%d cards", len(p.cards))
	}
	p.Pause(0)
	if l := g.Leaks(); len(l) > 0 {
		t.Errorf("left open: %v", l)
	}
	if _, err := p.Into(photo(t, 64, 48, 1), newRow(tensor.FormatUint8HWC)); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Processor != 1 {
		t.Errorf("done where: %+v", s)
	}
}

// TestHang: a batch that does not return in time goes to the processor, and so does everything after it.
func TestHang(t *testing.T) {
	data := photo(t, 64, 48, 1)
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		hanging := false
		f := &fake{decode: func([][]byte) error {
			if hanging {
				<-proceed
			}
			return nil
		}}
		p, _ := pretend(t, plan32(preproc.Shortest), f, Options{Mode: Card, Timeout: time.Minute})
		hanging = true
		start := time.Now()
		for range 2 {
			if _, err := p.Into(data, newRow(tensor.FormatUint8HWC)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("given up after %v", took)
		}
		if s := p.Stats(); s.Processor != 2 || s.Cards != 0 {
			t.Errorf("done where: %+v", s)
		}
		if err := p.Close(); err == nil || !strings.Contains(err.Error(), "never returned") {
			t.Errorf("closed with %v", err)
		}
		close(proceed)
		synctest.Wait()
	})
}

// TestProof: a card that decodes wrong, or not at all, is not opened, and nothing stays on it.
func TestProof(t *testing.T) {
	for name, c := range map[string]struct {
		fake *fake
		want string
	}{
		"swapped channels": {&fake{mutate: func(pix []byte) {
			for i := 0; i < len(pix); i += 3 {
				pix[i], pix[i+2] = pix[i+2], pix[i]
			}
		}}, "comes out wrong"},
		"nothing supported": {&fake{refuse: func([]byte) bool { return true }}, "not even a common file"},
		"nothing written":   {&fake{skip: func([]byte) bool { return true }}, "not even a common file"},
		"an error":          {&fake{decode: func([][]byte) error { return errBad }}, errBad.Error()},
		"no codec":          {&fake{open: func() error { return errBad }}, errBad.Error()},
	} {
		p, g := pretendClosed(t, plan32(preproc.Shortest), c.fake, Options{Mode: Card})
		if err := p.Open(0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		checkClosed(t, p, g)
	}
}

// TestOpenFailures lets each call of opening fail in turn: an error, and nothing left.
func TestOpenFailures(t *testing.T) {
	refused := &driver.Error{Call: "cuSomething", Code: 999, Text: "unknown error"}
	for k := 0; ; k++ {
		p, g := pretendClosed(t, plan32(preproc.Shortest), &fake{}, Options{Mode: Card})
		var calls atomic.Int32 // the lanes' threads make some
		var opened atomic.Bool
		g.Fail = func(string) error {
			if int(calls.Add(1)) == k+1 && !opened.Load() {
				return refused
			}
			return nil
		}
		err := p.Open(0)
		opened.Store(true)
		if int(calls.Load()) <= k {
			if err != nil || k < 20 {
				t.Fatalf("%d calls, %v", k, err)
			}
			checkClosed(t, p, g)
			return
		}
		if !errors.Is(err, refused) {
			t.Fatalf("call %d: %v", k, err)
		}
		if l := g.Leaks(); len(l) > 0 {
			t.Fatalf("call %d: left open: %v", k, l)
		}
	}
}

// TestManyAtOnce: under both modes every image's row is right, whoever decoded it.
func TestManyAtOnce(t *testing.T) {
	const files, clients, each = 12, 24, 10
	processor := onProcessor(t, plan32(preproc.Shortest))
	var data [][]byte
	var want []*row
	for i := range files {
		data, want = append(data, photo(t, 40+3*i, 60-2*i, i)), append(want, newRow(tensor.FormatUint8HWC))
		if _, err := processor.Into(data[i], want[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []Mode{Shared, Card} {
		t.Run(string(mode), func(t *testing.T) {
			var lock sync.Mutex
			f := &fake{decode: func([][]byte) error { lock.Lock(); defer lock.Unlock(); return nil }}
			p, g := pretend(t, plan32(preproc.Shortest), f, Options{Mode: mode, Slots: 2, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			var all sync.WaitGroup
			for c := range clients {
				all.Go(func() {
					got := newRow(tensor.FormatUint8HWC)
					for k := range each {
						i := (c + k) % files
						if _, err := p.Into(data[i], got); err != nil {
							t.Error(err)
						}
						if !bytes.Equal(got.memory, want[i].memory) {
							t.Errorf("file %d: rows differ", i)
						}
					}
				})
			}
			all.Wait()
			s := p.Stats()
			if s.Processor+s.Cards != clients*each || mode == Card && s.Processor > 0 {
				t.Errorf("done where: %+v", s)
			}
			checkClosed(t, p, g)
		})
	}
}
