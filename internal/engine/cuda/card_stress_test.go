package cuda

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
	"github.com/vitrine-project/vitrine/internal/engine/cuda/driver"
	"github.com/vitrine-project/vitrine/internal/engine/enginetest"
	"github.com/vitrine-project/vitrine/internal/model"
	"github.com/vitrine-project/vitrine/internal/tensor"
)

const (
	stressClients = 32
	stressImages  = 64
	stressBatch   = 128
	// stuckAfter is far more than any batch takes.
	stuckAfter = 20 * time.Second
)

// TestCardStress has 32 clients run batches of mixed sizes on all cards that are visible, for the time that
// VITRINE_CARD_STRESS says: two engines' graphs at once on each card, rows of one card's engine computed by the
// other's, every answer compared.
func TestCardStress(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("VITRINE_CARD_STRESS"))
	if err != nil {
		t.Skip("VITRINE_CARD_STRESS is no duration: ", err)
	}
	cards, err := driver.Count()
	if err != nil {
		t.Skip(err)
	}
	s := newStress(t, cards)
	var all sync.WaitGroup
	for i := range s.clients {
		all.Go(func() { s.client(t, &s.clients[i], uint64(i)) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(s.began) < length && !s.failed.Load() {
		<-tick.C
		if stuck := s.stuck(); stuck != "" {
			fmt.Fprintln(os.Stderr, stuck)
			os.Exit(3) // a batch that hangs cannot be waited for, nor its engine be closed
		}
	}
	s.stop.Store(true)
	all.Wait()
	t.Log(s.summary(cards))
}

// stress is what its clients share.
type stress struct {
	engines []*Engine
	images  [][]byte
	want    [][]float32
	clients []stressClient
	began   time.Time
	stop    atomic.Bool
	failed  atomic.Bool

	mu   sync.Mutex
	runs map[int]int // by planned size
}

// stressClient is one client: its rows, and what it does now.
type stressClient struct {
	rows []tensor.Row
	now  atomic.Pointer[underWay]
}

// underWay is a batch that a client waits for.
type underWay struct {
	card, n int
	since   time.Time
}

func newStress(t *testing.T, cards int) *stress {
	c, _ := model.Preset("ViT-B-32-quickgelu")
	m := synthetic(t, c, false)
	s := &stress{clients: make([]stressClient, stressClients), runs: map[int]int{}, began: time.Now()}
	for i := range cards {
		s.engines = append(s.engines, openCard(t, m, Options{Device: i, MaxBatch: stressBatch}))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range stressImages {
		image := make([]byte, tensor.FormatUint8HWC.Size(c.ImageSize, c.ImageSize))
		for i := range image {
			image[i] = byte(random.Uint32())
		}
		s.images = append(s.images, image)
	}
	for i := range s.clients {
		for range stressImages {
			row, err := s.engines[i%cards].NewRow(tensor.FormatUint8HWC)
			if err != nil {
				t.Fatal(err)
			}
			s.clients[i].rows = append(s.clients[i].rows, row)
		}
	}
	s.want = s.reference(t)
	return s
}

// reference embeds each image alone.
func (s *stress) reference(t *testing.T) (want [][]float32) {
	row := s.clients[0].rows[:1]
	for _, image := range s.images {
		copy(row[0].Bytes(), image)
		out := [][]float32{make([]float32, s.engines[0].spec.Outputs[0].Dim)}
		if _, err := s.engines[0].Run(t.Context(), row, out); err != nil {
			t.Fatal(err)
		}
		want = append(want, out[0])
	}
	return want
}

// client runs batches until the time is over or something failed.
func (s *stress) client(t *testing.T, c *stressClient, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 3))
	for !s.stop.Load() && !s.failed.Load() {
		card, n := random.IntN(len(s.engines)), 1+random.IntN(stressImages)
		if random.IntN(2) == 0 {
			n = 9 + random.IntN(8) // the graph of 16, which failed once
		}
		c.now.Store(&underWay{card, n, time.Now()})
		if err := s.batch(t, c.rows[:n], card, random); err != nil {
			s.failed.Store(true)
			t.Errorf("after %v: batch of %d on card %d: %v", time.Since(s.began), n, card, err)
		}
		c.now.Store(nil)
	}
}

// batch computes images taken at random and compares.
func (s *stress) batch(t *testing.T, rows []tensor.Row, card int, random *rand.Rand) error {
	chosen, out := make([]int, len(rows)), make([][]float32, len(rows))
	for i, r := range rows {
		chosen[i] = random.IntN(stressImages)
		copy(r.Bytes(), s.images[chosen[i]])
		out[i] = make([]float32, len(s.want[0]))
	}
	e := s.engines[card]
	if _, err := e.Run(t.Context(), rows, out); err != nil {
		return err
	}
	for i, got := range out {
		if x := enginetest.Cosine(got, s.want[chosen[i]]); !(x >= enginetest.MinCosine(engine.FP16)) {
			return fmt.Errorf("row %d: cosine %v with the image alone", i, x)
		}
	}
	at, _ := slices.BinarySearch(e.spec.Batches, len(rows))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[e.spec.Batches[at]]++
	return nil
}

// stuck says who waits too long.
func (s *stress) stuck() string {
	var all []string
	for i := range s.clients {
		if u := s.clients[i].now.Load(); u != nil && time.Since(u.since) > stuckAfter {
			all = append(all, fmt.Sprintf("client %d: a batch of %d on card %d since %v", i, u.n, u.card, time.Since(u.since)))
		}
	}
	return strings.Join(all, "\n")
}

func (s *stress) summary(cards int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	total := 0
	for _, n := range s.engines[0].spec.Batches {
		total += s.runs[n]
		fmt.Fprintf(&text, " %d: %d", n, s.runs[n])
	}
	return fmt.Sprintf("%d cards, %v: %d runs by planned size:%s", cards, time.Since(s.began).Round(time.Second), total, &text)
}
