package engine

import "time"

// Devices is implemented by engines that compute on several devices and may lose one and get it back.
// Such an engine's fault.Unavailable is not its end: the next Run may succeed.
type Devices interface {
	// Devices is the state of each device, always the same ones in the same order.
	Devices() []DeviceStatus
}

// DeviceStatus is what one device does and has done.
type DeviceStatus struct {
	Name  string // "cpu", "gpu:0"
	UUID  string // the card's, "" if it has none
	Up    bool
	Why   string    // why it is not up
	Since time.Time // when it came up or went down

	Running, InFlight int // Runs under way, and how many may be

	Executions int64         // Runs that ended, failed ones included
	Items      int64         // rows of those that succeeded
	Busy       time.Duration // time of all Runs together
	Failures   int64         // times that the device was taken out
	Retries    int64         // Runs that failed with the device and were given to another
	Returns    int64         // times that it came back
}
