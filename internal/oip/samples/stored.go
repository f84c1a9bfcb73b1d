package samples

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/model/repository"
	"github.com/vitrine-project/vitrine/internal/oip"
)

// Stored is a version of a model as a repository declares it.
func Stored(m *repository.Model, version int64) (*Model, error) {
	o, err := StoredOptions(m, version)
	if err != nil {
		return nil, err
	}
	return New(o)
}

// StoredOptions are those of a stored model: its parameter "kind" says what it computes,
// "correlation_id" whether a sequence's number is added at its end.
func StoredOptions(m *repository.Model, version int64) (Options, error) {
	meta, config, err := oip.Declared(m, version)
	if err != nil {
		return Options{}, err
	}
	c := m.Config
	o := Options{Metadata: meta, MaxBatch: int(c.MaxBatchSize), Kind: c.Parameters["kind"].StringValue, Config: config,
		Sequence: c.SequenceBatching != nil, CorrelationID: c.Parameters["correlation_id"].StringValue == "true"}
	if b := c.DynamicBatching; b != nil && b.DefaultQueuePolicy != nil {
		o.Queue = time.Duration(b.MaxQueueDelayMicroseconds) * time.Microsecond
	}
	return o, nil
}
