package plan

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/lab/record"
)

// What runs take beside their own duration, from the reference study on two cores.
const (
	aroundRun   = 1500 * time.Millisecond // connections, warm-up, two scrapes, the last answers
	countedRun  = 2 * time.Second         // of a cell without a duration
	serverStart = 8 * time.Second
)

// Estimate is about how long runs take. Those that end by their number of requests take less than their
// duration, a first start that installs something takes longer.
func Estimate(runs []Run) (sum time.Duration) {
	started := map[string]int{}
	for _, r := range runs {
		p := r.Cell.Params
		sum += aroundRun
		switch {
		case r.Cell.Scenario == record.ColdStart:
			sum += time.Duration(p.Requests) * serverStart
			continue
		case p.Duration > 0:
			sum += p.Duration
		default:
			sum += countedRun
		}
		// A target's server is started when first needed, and again for another number of instances.
		if was, ok := started[r.Cell.Target]; !ok || was != p.Instances {
			started[r.Cell.Target] = p.Instances
			sum += serverStart
		}
	}
	return sum
}
