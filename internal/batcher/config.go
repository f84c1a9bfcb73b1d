package batcher

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// TimeoutAction is what happens to a part whose time in the queue ran out.
type TimeoutAction uint8

const (
	// Reject answers the part with fault.Timeout.
	Reject TimeoutAction = iota
	// Delay keeps the part, behind all others of its priority level whose time has not run out.
	Delay
)

// String is the action's name in Triton's model configuration.
func (a TimeoutAction) String() string {
	if a == Delay {
		return "DELAY"
	}
	return "REJECT"
}

// UnmarshalText reads an action's name, in either case.
func (a *TimeoutAction) UnmarshalText(text []byte) error {
	switch strings.ToUpper(string(text)) {
	case "REJECT":
		*a = Reject
	case "DELAY":
		*a = Delay
	default:
		return fmt.Errorf("timeout action %q is neither reject nor delay", text)
	}
	return nil
}

// Config are the batcher's options; they mean what they mean in Triton's model configuration. The
// zero value batches greedily up to the engine's largest batch.
type Config struct {
	// MaxBatchSize is the largest batch in rows, 0 for the engine's largest.
	MaxBatchSize int
	// PreferredBatchSizes are formed where they can be: the largest that the queue can fill exactly
	// runs at once, and what is beyond it stays for the next batch.
	PreferredBatchSizes []int
	// MaxQueueDelay is how long the oldest part may wait for a batch of a preferred size (without
	// preferred sizes: for a full one) while an instance is free. 0 never waits.
	MaxQueueDelay time.Duration
	// MaxQueueSize is the largest number of parts that wait, 0 for no limit. A part of several rows
	// counts once, as a request does in Triton.
	MaxQueueSize int
	// DefaultTimeout is the longest time in the queue, 0 for no limit. A part's own timeout can only
	// shorten it.
	DefaultTimeout time.Duration
	// IgnorePartTimeout makes DefaultTimeout hold for every part (allow_timeout_override: false).
	IgnorePartTimeout bool
	// TimeoutAction says what becomes of a part whose time in the queue ran out.
	TimeoutAction TimeoutAction
	// PriorityLevels is the number of levels, 1 the highest; 0 is one level for all.
	PriorityLevels uint32
	// DefaultPriority is the level of parts that name none, or one that does not exist; 0 is the
	// lowest level.
	DefaultPriority uint32

	// Levels are the policies of the levels, from level 1 on, where each has its own; their queues are
	// then bounded one by one. Empty is the policy of the fields above for all of them together.
	Levels []Policy

	// OnExecution is told each batch that ran, before its parts are answered; nil tells nobody. It is
	// called from the workers, concurrently.
	OnExecution func(Execution)
	// Logger gets engine panics; nil is slog.Default().
	Logger *slog.Logger
}

// Policy is how one priority level's queue treats its parts; its fields mean what Config's do.
type Policy struct {
	MaxQueueSize      int
	DefaultTimeout    time.Duration
	IgnorePartTimeout bool
	TimeoutAction     TimeoutAction
}

// policy is that of a lane's level.
func (c *Config) policy(level int) Policy {
	if level < len(c.Levels) {
		return c.Levels[level]
	}
	return Policy{c.MaxQueueSize, c.DefaultTimeout, c.IgnorePartTimeout, c.TimeoutAction}
}

// complete fills in defaults and checks c against the engine.
func (c Config) complete(spec engine.Spec) (Config, error) {
	if c.MaxBatchSize == 0 {
		c.MaxBatchSize = spec.MaxBatch
	}
	if c.PriorityLevels == 0 {
		c.PriorityLevels, c.DefaultPriority = 1, 1
	}
	if c.DefaultPriority == 0 {
		c.DefaultPriority = c.PriorityLevels
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, c.validate(spec)
}

// maxPriorityLevels bounds the lanes that a worker looks through.
const maxPriorityLevels = 1024

func (c *Config) validate(spec engine.Spec) error {
	outside := func(n int) bool { return n < 1 || n > c.MaxBatchSize }
	switch {
	case spec.InFlight < 1:
		return fmt.Errorf("engine %s allows %d runs in flight, at least 1 is needed", spec.Name, spec.InFlight)
	case c.MaxBatchSize < 1 || c.MaxBatchSize > spec.MaxBatch:
		return fmt.Errorf("max_batch_size %d is outside 1 to %d, the engine's largest batch", c.MaxBatchSize, spec.MaxBatch)
	case slices.ContainsFunc(c.PreferredBatchSizes, outside):
		return fmt.Errorf("preferred_batch_size %v: each must be 1 to max_batch_size %d", c.PreferredBatchSizes, c.MaxBatchSize)
	case c.MaxQueueDelay < 0 || c.DefaultTimeout < 0:
		return fmt.Errorf("max_queue_delay %v and default_timeout %v must not be negative", c.MaxQueueDelay, c.DefaultTimeout)
	case c.MaxQueueSize < 0:
		return fmt.Errorf("max_queue_size %d must not be negative", c.MaxQueueSize)
	case c.PriorityLevels > maxPriorityLevels:
		return fmt.Errorf("priority_levels %d is more than %d", c.PriorityLevels, maxPriorityLevels)
	case len(c.Levels) > 0 && uint32(len(c.Levels)) != c.PriorityLevels:
		return fmt.Errorf("%d queue policies for %d priority levels", len(c.Levels), c.PriorityLevels)
	case slices.ContainsFunc(c.Levels, func(p Policy) bool { return p.MaxQueueSize < 0 || p.DefaultTimeout < 0 }):
		return fmt.Errorf("queue policies %v: max_queue_size and default_timeout must not be negative", c.Levels)
	case c.DefaultPriority > c.PriorityLevels:
		return fmt.Errorf("default_priority_level %d is more than priority_levels %d", c.DefaultPriority, c.PriorityLevels)
	}
	return nil
}

// level is the lane index of a priority: a priority that is 0 or does not exist means the default.
func (c *Config) level(priority uint32) int {
	if priority == 0 || priority > c.PriorityLevels {
		priority = c.DefaultPriority
	}
	return int(priority - 1)
}

// timeout is the longest time in the queue of a part that asked for own, 0 for no limit.
func (p *Policy) timeout(own time.Duration) time.Duration {
	switch {
	case own <= 0 || p.IgnorePartTimeout:
		return p.DefaultTimeout
	case p.DefaultTimeout == 0:
		return own
	}
	return min(own, p.DefaultTimeout)
}
