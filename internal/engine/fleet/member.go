package fleet

import (
	"time"

	"github.com/vitrine-project/vitrine/internal/engine"
)

// member is a device's place in the fleet. The fleet's lock guards all but device.
type member struct {
	device Device
	unit   *unit // nil while the device is out
	why    string
	since  time.Time
	delay  time.Duration // before the last attempt to bring it back
	trial  time.Time     // when the next attempt begins; zero while none is planned

	executions, items, failures, retries, returns int64
	busy                                          time.Duration
}

// up seats a unit. The lock is held.
func (m *member) up(u *unit) { m.unit, m.why, m.since, m.trial = u, "", time.Now(), time.Time{} }

// down takes the unit away. The lock is held.
func (m *member) down(why string) { m.unit, m.why, m.since = nil, why, time.Now() }

// status is a copy of what the member does. The lock is held.
func (m *member) status() engine.DeviceStatus {
	s := engine.DeviceStatus{
		Name: m.device.String(), UUID: m.device.UUID, Up: m.unit != nil, Why: m.why, Since: m.since,
		Executions: m.executions, Items: m.items, Busy: m.busy,
		Failures: m.failures, Retries: m.retries, Returns: m.returns,
	}
	if m.unit != nil {
		s.Running, s.InFlight = m.unit.running, m.unit.spec.InFlight
	}
	return s
}

// Devices implements engine.Devices.
func (f *Fleet) Devices() []engine.DeviceStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]engine.DeviceStatus, len(f.members))
	for i, m := range f.members {
		all[i] = m.status()
	}
	return all
}

// unit is one engine of a device, from its factory until it is closed: a device that returns has
// another. The fleet's lock guards the counters.
type unit struct {
	engine engine.Engine
	spec   engine.Spec
	hung   chan struct{} // closed when a run missed its deadline: none of the unit's is waited for any more

	running int // runs that somebody waits for
	jobs    int // runs that have not returned, those included that nobody waits for
	lent    int // rows
	read    int // rows of this unit that runs read, this unit's runs or others'
	retired bool
	idle    chan struct{} // closed once it is retired and no run is in it or reads its rows
	quiet   chan struct{} // closed once, besides, its rows have come back
}

func newUnit(e engine.Engine) *unit {
	return &unit{engine: e, spec: e.Spec(), hung: newSignal(), idle: newSignal(), quiet: newSignal()}
}

func newSignal() chan struct{} { return make(chan struct{}) }

// settle tells those who wait for the end of a retired unit. The lock is held.
func (u *unit) settle() {
	if u.retired && u.jobs == 0 && u.read == 0 {
		closeOnce(u.idle)
		if u.lent == 0 {
			closeOnce(u.quiet)
		}
	}
}

// closeOnce closes a channel that nothing is sent on. The lock is held.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// retire has no more rows and runs given to a unit; hung gives up those that it has. The lock is held.
func (u *unit) retire(hung bool) {
	u.retired = true
	if hung {
		closeOnce(u.hung)
	}
	u.settle()
}
