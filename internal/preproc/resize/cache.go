package resize

import "sync"

// cacheBytes bounds the tables that are kept; one for 640 -> 224 samples takes about 12 KB.
const cacheBytes = 16 << 20

// cache keeps tables by axis, since most images of a service have one of a few sizes.
type cache struct {
	mu     sync.RWMutex
	tables map[axis]*table
	bytes  int
}

var tables = cache{tables: map[axis]*table{}}

// get returns the table of a, computing it where it is not there. A table is never changed.
func (c *cache) get(a axis) *table {
	c.mu.RLock()
	t := c.tables[a]
	c.mu.RUnlock()
	if t != nil {
		return t
	}
	t = a.weights()
	c.put(a, t)
	return t
}

// put keeps t unless it would take a large part of the cache, and drops arbitrary tables to make room.
func (c *cache) put(a axis, t *table) {
	n := t.bytes()
	if n > cacheBytes/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables[a] != nil {
		return
	}
	for b, old := range c.tables {
		if c.bytes+n <= cacheBytes {
			break
		}
		delete(c.tables, b)
		c.bytes -= old.bytes()
	}
	c.tables[a] = t
	c.bytes += n
}
