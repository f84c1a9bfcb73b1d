package plan

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vitrine-project/vitrine/internal/lab/record"
	"github.com/vitrine-project/vitrine/internal/lab/target"
)

// Scenarios that a cell can have, in the order in which a step runs them: those that start and stop
// servers come first, so that no other cell sees it.
var Scenarios = []string{
	record.ColdStart, record.Session, record.Idle, record.Serialization, record.Single, record.Batch,
	record.Concurrency, record.OpenLoop, record.RateSearch, record.Compute, record.Profile, record.Soak,
}

// Formats that a target can have.
var Formats = []string{
	target.EmbedBase64, target.EmbedRaw, target.EmbedBatch, target.OpenAI, target.OIPJSON, target.OIPBinary,
	target.OIPBinaryU8, target.OIPRaw, target.OIPGRPC, target.OIPGRPCImage, target.InProcess,
}

// Encodings and encoders that the serialization scenario knows.
var (
	Encodings = []string{"json", "binary", "base64_jpeg"}
	Encoders  = []string{"go", "python", "server"}
)

// maxCells bounds what one block of a step expands to.
const maxCells = 10_000

// combinations is the product of the lists' lengths, as far as it matters.
func (s Settings) combinations() int {
	n := 1
	for _, k := range []int{len(s.Batch), len(s.Concurrency), len(s.Instances), len(s.Rate), len(s.Arrival), len(s.Input),
		len(s.Link), len(s.NewConnection), len(s.Formats), len(s.Encoders)} {
		n = min(n*max(k, 1), maxCells+1)
	}
	return n
}

// checker collects what is wrong with a study.
type checker struct {
	name  string
	doc   *yaml.Node
	study *Study
	errs  []error
}

func (c *checker) fail(msg string, path ...any) {
	if c.doc == nil { // made of flags: there are no lines
		c.errs = append(c.errs, errors.New(msg))
		return
	}
	c.errs = append(c.errs, fmt.Errorf("%s:%d: %s", c.name, line(c.doc, path...), msg))
}

func (c *checker) check() {
	s := c.study
	if s.Version != Version {
		c.fail(fmt.Sprintf("version %d is not known to this program, which reads `version: %d`", s.Version, Version), "version")
	}
	if !nameOf.MatchString(s.Name) {
		c.fail("name: "+nameRule, "name")
	}
	c.servers()
	c.targets()
	c.settings(&s.Defaults, "defaults")
	c.steps()
	for _, name := range slices.Sorted(maps.Keys(s.Editions)) {
		c.edition(name)
	}
}

var nameOf = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

const nameRule = "want a name of letters, digits, _, . and -"

func (c *checker) servers() {
	seen := map[string]bool{}
	for i, v := range c.study.Servers {
		switch {
		case !nameOf.MatchString(v.Name):
			c.fail("a server's name: "+nameRule, "servers", i)
		case seen[v.Name]:
			c.fail(fmt.Sprintf("server %q stands here a second time", v.Name), "servers", i, "name")
		case v.Start == "":
			c.fail(fmt.Sprintf("server %q has no start command", v.Name), "servers", i)
		case v.Lifetime != "" && v.Lifetime != "study" && v.Lifetime != "step":
			c.fail("lifetime: want study or step", "servers", i, "lifetime")
		}
		seen[v.Name] = true
		c.editions(slices.Collect(maps.Keys(v.NeedsIn)), "servers", i, "needs_in")
		c.url(v.Ready, "servers", i, "ready")
		c.url(v.Metrics, "servers", i, "metrics")
		c.url(v.DeviceMetrics, "servers", i, "device_metrics")
		if v.Ready == "" {
			c.fail(fmt.Sprintf("server %q has no ready URL", v.Name), "servers", i)
		}
	}
}

func (c *checker) targets() {
	seen := map[string]bool{}
	for i, t := range c.study.Targets {
		if t.Name == "" || seen[t.Name] {
			c.fail(fmt.Sprintf("a target needs a name of its own, not %q", t.Name), "targets", i, "name")
		}
		seen[t.Name] = true
		if !slices.Contains(Formats, t.Format) {
			c.fail(fmt.Sprintf("format %q: want one of %s", t.Format, list(Formats)), "targets", i, "format")
		}
		if t.Server != "" && c.study.Server(t.Server) == nil {
			c.fail(fmt.Sprintf("no server %q", t.Server), "targets", i, "server")
		}
		if t.URL == "" && t.Format != target.InProcess {
			c.fail(fmt.Sprintf("target %q has no url", t.Name), "targets", i)
		}
		if t.Format == target.InProcess && t.Engine.Name == "" {
			c.fail(fmt.Sprintf("target %q is in process and names no engine", t.Name), "targets", i)
		}
		if t.Metrics != "off" {
			c.url(t.Metrics, "targets", i, "metrics")
		}
		c.url(t.DeviceMetrics, "targets", i, "device_metrics")
		c.editions(t.Editions, "targets", i, "editions")
	}
	if len(c.study.Targets) == 0 {
		c.fail("a study needs targets", "targets")
	}
}

func (c *checker) url(text string, path ...any) {
	if text == "" {
		return
	}
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		c.fail(fmt.Sprintf("%q is not a URL such as http://127.0.0.1:8000/readyz", text), path...)
	}
}

func (c *checker) editions(names []string, path ...any) {
	for _, n := range names {
		if _, ok := c.study.Editions[n]; !ok {
			c.fail(fmt.Sprintf("no edition %q", n), path...)
		}
	}
}

func (c *checker) targetNames(names []string, path ...any) {
	for _, n := range names {
		if c.study.Target(n) == nil {
			c.fail(fmt.Sprintf("no target %q", n), path...)
		}
	}
}

func (c *checker) steps() {
	seen := map[string]bool{}
	for i, s := range c.study.Steps {
		if seen[s.ID] || s.ID == "" && c.doc != nil {
			c.fail(fmt.Sprintf("a step needs an id of its own, not %q", s.ID), "steps", i)
		}
		seen[s.ID] = true
		c.editions(s.Editions, "steps", i, "editions")
		c.targetNames(s.Targets, "steps", i, "targets")
		if len(s.Cells) == 0 {
			c.fail(fmt.Sprintf("step %q has no cells", s.ID), "steps", i)
		}
		for j := range s.Cells {
			c.block(&s, &s.Cells[j], "steps", i, "cells", j)
		}
	}
	if len(c.study.Steps) == 0 {
		c.fail("a study needs steps", "steps")
	}
}

func (c *checker) block(s *Step, b *Block, path ...any) {
	at := func(key string) []any { return append(slices.Clone(path), key) }
	if !slices.Contains(Scenarios, b.Scenario) {
		c.fail(fmt.Sprintf("scenario %q: want one of %s", b.Scenario, list(Scenarios)), at("scenario")...)
	}
	c.editions(b.Editions, at("editions")...)
	c.targetNames(b.Targets, at("targets")...)
	if len(s.Targets)+len(b.Targets) == 0 {
		c.fail("neither the step nor the cell names targets", path...)
	}
	c.settings(&b.Settings, path...)
	if merge(b.Settings, c.study.Defaults).combinations()*(len(s.Targets)+len(b.Targets)) > maxCells {
		c.fail(fmt.Sprintf("more than %d cells", maxCells), path...)
	}
	if b.Scenario == record.OpenLoop && len(b.Rate)+len(c.study.Defaults.Rate) == 0 {
		c.fail("open_loop needs rates", path...)
	}
	if b.Scenario == record.RateSearch && b.Bound+c.study.Defaults.Bound == 0 {
		c.fail("rate_search needs a bound", path...)
	}
}

func (c *checker) settings(s *Settings, path ...any) {
	at := func(key string) []any { return append(slices.Clone(path), key) }
	for key, values := range map[string][]int{"batch": s.Batch, "concurrency": s.Concurrency, "instances": s.Instances} {
		for _, v := range values {
			if v < 1 || v > 1<<16 {
				c.fail(fmt.Sprintf("%s: %d is not between 1 and %d", key, v, 1<<16), at(key)...)
			}
		}
	}
	for key, v := range map[string]int64{"rounds": int64(s.Rounds), "requests": int64(s.Requests),
		"duration": int64(s.Duration), "timeout": int64(s.Timeout), "bound": int64(s.Bound)} {
		if v < 0 {
			c.fail(key+" is negative", at(key)...)
		}
	}
	if s.Warmup != nil && *s.Warmup < 0 {
		c.fail("warmup is negative", at("warmup")...)
	}
	if s.Duration > 24*time.Hour {
		c.fail("duration is longer than a day", at("duration")...)
	}
	for _, r := range s.Rate {
		if !(r > 0 && r <= 1e7) { // NaN too
			c.fail(fmt.Sprintf("rate: %v is not a number of requests a second", r), at("rate")...)
		}
	}
	if !(s.Quantile >= 0 && s.Quantile < 1) {
		c.fail("quantile: want a share such as 0.99", at("quantile")...)
	}
	c.words("arrival", s.Arrival, []string{"constant", "poisson"}, at("arrival"))
	c.words("formats", s.Formats, Encodings, at("formats"))
	c.words("encoders", s.Encoders, Encoders, at("encoders"))
}

func (c *checker) words(key string, words, allowed []string, path []any) {
	for _, w := range words {
		if !slices.Contains(allowed, w) {
			c.fail(fmt.Sprintf("%s: %q: want one of %s", key, w, list(allowed)), path...)
		}
	}
}

func (c *checker) edition(name string) {
	e := c.study.Editions[name]
	c.targetNames(e.Targets, "editions", name, "targets")
	c.words("scenarios", e.Keep.Scenarios, Scenarios, []any{"editions", name, "keep", "scenarios"})
	for _, id := range e.Steps {
		if !slices.ContainsFunc(c.study.Steps, func(s Step) bool { return s.ID == id }) {
			c.fail(fmt.Sprintf("no step %q", id), "editions", name, "steps")
		}
	}
	reduces := len(e.Steps)+len(e.Targets)+len(e.Keep.Batch)+len(e.Keep.Concurrency)+len(e.Keep.Instances)+
		len(e.Keep.Link)+len(e.Keep.Input)+len(e.Keep.Scenarios) > 0
	if reduces && e.Why == "" {
		c.fail(fmt.Sprintf("edition %q leaves cells out and does not say why", name), "editions", name)
	}
}

// Server finds a server by its name.
func (s *Study) Server(name string) *Server {
	for i := range s.Servers {
		if s.Servers[i].Name == name {
			return &s.Servers[i]
		}
	}
	return nil
}

// Target finds a target by its name.
func (s *Study) Target(name string) *Target {
	for i := range s.Targets {
		if s.Targets[i].Name == name {
			return &s.Targets[i]
		}
	}
	return nil
}

// Check says what is wrong with a study that is not from a file.
func (s *Study) Check() error {
	c := checker{study: s}
	c.check()
	return errors.Join(c.errs...)
}
