package main

import (
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// failuresMost bounds the failures that are told one by one.
const failuresMost = 20000

// figures sums up requests.
type figures struct {
	requests  int
	failed    map[string]int
	latencies *hdrhistogram.Histogram // microseconds
}

func newFigures() *figures {
	// From a microsecond to ten minutes, exact to a thousandth.
	return &figures{failed: map[string]int{}, latencies: hdrhistogram.New(1, 600_000_000, 3)}
}

func (f *figures) add(latency time.Duration, failure string) {
	f.requests++
	if failure != "" {
		f.failed[failure]++
	}
	_ = f.latencies.RecordValue(min(latency.Microseconds(), 600_000_000))
}

// Figures is what is told of some requests.
type Figures struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Reasons  map[string]int `json:"reasons,omitempty"`
	P50S     float64        `json:"p50_s"`
	P90S     float64        `json:"p90_s"`
	P99S     float64        `json:"p99_s"`
	P999S    float64        `json:"p999_s"`
	SlowestS float64        `json:"slowest_s"`
}

func (f *figures) told() Figures {
	told := Figures{Requests: f.requests, Reasons: f.failed}
	for _, count := range f.failed {
		told.Failed += count
	}
	at := func(percentile float64) float64 { return float64(f.latencies.ValueAtPercentile(percentile)) / 1e6 }
	told.P50S, told.P90S, told.P99S, told.P999S = at(50), at(90), at(99), at(99.9)
	told.SlowestS = float64(f.latencies.Max()) / 1e6
	return told
}

// Failure is one request that failed.
type Failure struct {
	AtS      float64 `json:"at_s"` // when it was due
	Target   string  `json:"target"`
	Reason   string  `json:"reason"`
	Instance string  `json:"instance,omitempty"`
	LatencyS float64 `json:"latency_s"`
	Detail   string  `json:"detail"`
}

// book keeps what became of all requests.
type book struct {
	lock       sync.Mutex
	plan       Plan
	began      time.Time
	all        *figures
	window     *figures
	byTarget   map[string]*figures
	byInstance map[string]*figures
	held       map[string]*figures
	failures   []Failure
	lateMost   time.Duration
	retried    atomic.Int64
	unnamed    int
	wrong      int
}

func newBook(plan Plan, began time.Time) *book {
	return &book{
		plan: plan, began: began, all: newFigures(), window: newFigures(),
		byTarget: map[string]*figures{}, byInstance: map[string]*figures{}, held: map[string]*figures{},
	}
}

func (b *book) add(o outcome) {
	instance := o.result.Headers.Get("X-Instance")
	failure, detail := b.judge(o, instance)
	b.lock.Lock()
	defer b.lock.Unlock()
	b.lateMost = max(b.lateMost, o.late)
	if failure == "" && instance == "" {
		b.unnamed++
	}
	for _, into := range []*figures{b.all, b.window, of(b.byTarget, o.target)} {
		into.add(o.latency, failure)
	}
	if instance != "" {
		of(b.byInstance, instance).add(o.latency, failure)
	}
	if failure != "" {
		due := o.result.Timestamp.Add(-o.late).Sub(b.began)
		b.fail(Failure{due.Seconds(), o.target, failure, instance, o.latency.Seconds(), detail})
	}
}

// addHeld notes what became of a connection that is kept busy, a "websocket" or a "long" answer.
func (b *book) addHeld(kind, target string, began time.Time, failure, detail string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	of(b.held, kind).add(time.Since(began), failure)
	if failure != "" {
		b.fail(Failure{began.Sub(b.began).Seconds(), target, kind + ": " + failure, "", time.Since(began).Seconds(), detail})
	}
}

func (b *book) fail(failure Failure) {
	if strings.HasSuffix(failure.Reason, wrongApp) {
		b.wrong++
	}
	if len(b.failures) < failuresMost {
		b.failures = append(b.failures, failure)
	}
}

// judge returns why a request counts as failed, in a word or two, with the details; or nothing.
func (b *book) judge(o outcome, instance string) (string, string) {
	if o.result.Code == 0 {
		return kind(o.result.Error), cut(o.result.Error)
	}
	if instance != "" && b.plan.wrong(instance) {
		return wrongApp, "answered by " + instance
	}
	if o.result.Code < 200 || o.result.Code >= 400 {
		return "status " + strconv.Itoa(int(o.result.Code)), cut(string(o.result.Body))
	}
	if o.result.Error != "" {
		return kind(o.result.Error), cut(o.result.Error)
	}
	if b.plan.wrong(instance) {
		return wrongApp, "answered by " + orNobody(instance)
	}
	return "", ""
}

// wrongApp is the one failure that nothing excuses.
const wrongApp = "wrong app"

// wrong tells whether an answer is of another app, by the instance that it names.
func (plan *Plan) wrong(instance string) bool {
	if instance == "" {
		return plan.Named
	}
	return !strings.HasPrefix(instance, plan.Instance)
}

func orNobody(instance string) string {
	if instance == "" {
		return "an instance without a name"
	}
	return instance
}

// kind puts an error of Go's net packages into a word or two.
func kind(text string) string {
	for _, known := range [][2]string{
		{"deadline exceeded", "timeout"},
		{"Client.Timeout", "timeout"},
		{"i/o timeout", "timeout"},
		{"connection refused", "refused"},
		{"connection reset", "reset"},
		{"broken pipe", "reset"},
		{"cannot assign requested address", "no free ports here"},
		{"too many open files", "no descriptors here"},
		{"no such host", "name not found"},
		{"no route to host", "unreachable"},
		{"network is unreachable", "unreachable"},
		{"EOF", "cut off"},
		{"GOAWAY", "cut off"},
		{"stream error", "cut off"},
		{"tls:", "TLS"},
		{"x509", "TLS"},
	} {
		if strings.Contains(text, known[0]) {
			return known[1]
		}
	}
	return "other"
}

func cut(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 200 {
		return text[:200]
	}
	return text
}

func of(held map[string]*figures, key string) *figures {
	found, there := held[key]
	if !there {
		found = newFigures()
		held[key] = found
	}
	return found
}

// second returns the figures since the last call, and begins the next.
func (b *book) second(now time.Time) any {
	b.lock.Lock()
	defer b.lock.Unlock()
	told := b.window.told()
	b.window = newFigures()
	return map[string]any{"at_s": now.Sub(b.began).Seconds(), "window": told}
}

// Summary is what became of the whole load.
type Summary struct {
	Figures
	Seconds   float64            `json:"seconds"`
	LateMostS float64            `json:"late_most_s"` // how far this program itself was behind the plan at worst
	Retried   int64              `json:"retried"`     // kept connections that were closed before an answer began: sent once more
	Unnamed   int                `json:"unnamed"`     // good answers without X-Instance
	WrongApp  int                `json:"wrong_app"`
	Targets   map[string]Figures `json:"targets"`
	Instances map[string]Figures `json:"instances"`
	Held      map[string]Figures `json:"held,omitempty"`
	Failures  []Failure          `json:"failures"`
	Settings  map[string]string  `json:"settings"` // of the system, as this program finds them
}

func (b *book) summary(now time.Time) Summary {
	b.lock.Lock()
	defer b.lock.Unlock()
	sort.SliceStable(b.failures, func(i, j int) bool { return b.failures[i].AtS < b.failures[j].AtS })
	return Summary{
		Figures: b.all.told(), Seconds: now.Sub(b.began).Seconds(), LateMostS: b.lateMost.Seconds(),
		Retried: b.retried.Load(), Unnamed: b.unnamed, WrongApp: b.wrong,
		Targets: toldOf(b.byTarget), Instances: toldOf(b.byInstance), Held: toldOf(b.held), Failures: b.failures,
	}
}

func toldOf(held map[string]*figures) map[string]Figures {
	all := map[string]Figures{}
	for key, found := range held {
		all[key] = found.told()
	}
	return all
}
