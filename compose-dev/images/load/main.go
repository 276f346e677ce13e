// The load generator of ./dev load, chaos and the benchmarks: an open load on one app through several balancers.
//
// It reads a plan, one JSON object on standard input, and writes JSON lines: one each second, and one with everything at the end. The
// end of its input ends the load, so that none outlives whoever started it; requests under way still get their answers. Requests
// start when they are due, however long earlier ones take, and a latency counts from when its request was due: a stall of
// the server, or of this program, is not left out of the percentiles (coordinated omission). Sending and pacing are vegeta's.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Target is one balancer.
type Target struct {
	Name string `json:"name"`
	URL  string `json:"url"` // without a path
}

// Plan is what is asked for.
type Plan struct {
	Targets    []Target          `json:"targets"`
	Host       string            `json:"host"` // the Host header; empty: the target's own
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Body       string            `json:"body"`
	Headers    map[string]string `json:"headers"`
	Stages     []Stage           `json:"stages"`
	KeepAlive  float64           `json:"keep_alive"` // share of the requests that use kept connections, 0 to 1
	HTTP2      bool              `json:"http2"`
	TimeoutS   float64           `json:"timeout_s"`
	Clients    int               `json:"clients"`  // more than 0: so many ask as fast as they get answers, and rates do not count
	Instance   string            `json:"instance"` // what X-Instance must begin with; empty: whatever it is
	Named      bool              `json:"named"`    // an answer without X-Instance is the wrong app's as well
	UnderWay   int               `json:"under_way"`
	WebSockets Held              `json:"websockets"`
	Long       Held              `json:"long"`
}

// Held is a number of connections that are kept busy beside the load.
type Held struct {
	Count int    `json:"count"`
	Path  string `json:"path"`
}

func main() {
	var plan Plan
	if err := json.NewDecoder(os.Stdin).Decode(&plan); err != nil {
		fail("the plan is no JSON that makes sense: %v", err)
	}
	if err := plan.check(descriptors()); err != nil {
		fail("%v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	run(ctx, plan, json.NewEncoder(os.Stdout))
}

func fail(format string, words ...any) {
	fmt.Fprintf(os.Stderr, "error: "+format+"\n", words...)
	os.Exit(2)
}

// descriptorsOwn is how many this program needs beside those of its connections.
const descriptorsOwn = 64

// descriptors returns how many files and connections this program may have open. Go has raised that to what the system allows.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 20
	}
	return limit.Cur
}

// settings returns what limits the connections of this program, as it is here: a container's network has settings of its own.
func settings() map[string]string {
	found := map[string]string{"descriptors": fmt.Sprint(descriptors())}
	for _, name := range []string{"net/ipv4/ip_local_port_range", "net/ipv4/tcp_tw_reuse", "net/core/somaxconn"} {
		if value, err := os.ReadFile("/proc/sys/" + name); err == nil {
			found[strings.ReplaceAll(name, "/", ".")] = strings.Join(strings.Fields(string(value)), " ")
		}
	}
	return found
}

func (plan *Plan) check(descriptors uint64) error {
	switch connections := plan.UnderWay + plan.WebSockets.Count + plan.Long.Count; {
	case uint64(max(0, connections))+descriptorsOwn > descriptors:
		return fmt.Errorf("%d connections need more than the %d descriptors that are allowed here", connections, descriptors)
	case len(plan.Targets) == 0:
		return fmt.Errorf("targets: at least one")
	case len(plan.Stages) == 0:
		return fmt.Errorf("stages: at least one")
	case plan.KeepAlive < 0 || plan.KeepAlive > 1:
		return fmt.Errorf("keep_alive: a share from 0 to 1")
	case plan.TimeoutS <= 0:
		return fmt.Errorf("timeout_s: more than 0")
	case plan.UnderWay < 1:
		return fmt.Errorf("under_way: at least 1")
	case plan.Clients < 0 || plan.WebSockets.Count < 0 || plan.Long.Count < 0:
		return fmt.Errorf("clients, websockets, long: from 0 on")
	}
	for _, stage := range plan.Stages {
		if stage.Seconds <= 0 || stage.From < 0 || stage.To < 0 {
			return fmt.Errorf("stages: each lasts more than 0 seconds, at rates from 0 on")
		}
	}
	return nil
}

// run sends the whole load and reports each second, and at the end.
func run(ctx context.Context, plan Plan, out *json.Encoder) {
	began := time.Now()
	book := newBook(plan, began)
	results := make(chan outcome, 1024)
	kinds := 0
	for _, share := range []struct {
		keep bool
		part float64
	}{{true, plan.KeepAlive}, {false, 1 - plan.KeepAlive}} {
		if share.part <= 0 {
			continue
		}
		kinds++
		go attack(ctx, plan, share.keep, share.part, &book.retried, results)
	}
	held, end := context.WithCancel(ctx)
	waiting := hold(held, plan, book)

	_ = out.Encode(map[string]any{"running": true})
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for kinds > 0 {
		select {
		case result := <-results:
			if result.done {
				kinds--
				continue
			}
			book.add(result)
		case <-ticker.C:
			_ = out.Encode(book.second(time.Now()))
		}
	}
	end()
	waiting.Wait()
	_ = out.Encode(book.second(time.Now()))
	summary := book.summary(time.Now())
	summary.Settings = settings()
	_ = out.Encode(map[string]any{"summary": summary})
}

// outcome is what became of one request.
type outcome struct {
	done    bool // no request: the attack is over
	target  string
	latency time.Duration // from when it was due
	late    time.Duration // from when it was due to when it was sent: this program's own delay
	result  *vegeta.Result
}

// attack sends one share of the load, over kept or single connections.
func attack(ctx context.Context, plan Plan, keep bool, part float64, retried *atomic.Int64, results chan<- outcome) {
	schedule := newSchedule(plan.Stages, part)
	most := plan.UnderWay
	var pacer vegeta.Pacer = schedule
	if plan.Clients > 0 {
		most = max(1, int(math.Round(float64(plan.Clients)*part)))
		pacer = unhurried{schedule}
	}
	attacker := vegeta.NewAttacker(
		vegeta.Client(plan.client(keep, most, retried)),
		vegeta.Timeout(time.Duration(plan.TimeoutS*float64(time.Second))),
		vegeta.MaxWorkers(uint64(most)),
		vegeta.Redirects(vegeta.NoFollow),
		vegeta.MaxBody(4096),
	)
	began := time.Now()
	go func() {
		<-ctx.Done()
		attacker.Stop()
	}()
	for result := range attacker.Attack(plan.targeter(), pacer, 0, "") {
		due := began.Add(schedule.due(result.Seq))
		if plan.Clients > 0 {
			due = result.Timestamp
		}
		results <- outcome{
			target:  plan.target(result.URL),
			latency: max(0, result.Timestamp.Add(result.Latency).Sub(due)),
			late:    max(0, result.Timestamp.Sub(due)),
			result:  result,
		}
	}
	results <- outcome{done: true}
}

// targeter gives the requests, each target in turn.
func (plan *Plan) targeter() vegeta.Targeter {
	header := http.Header{}
	for name, value := range plan.Headers {
		header.Set(name, value)
	}
	if plan.Host != "" {
		header.Set("Host", plan.Host)
	}
	targets := make([]vegeta.Target, 0, len(plan.Targets))
	for _, target := range plan.Targets {
		targets = append(targets, vegeta.Target{
			Method: plan.Method, URL: target.URL + plan.Path, Body: []byte(plan.Body), Header: header,
		})
	}
	return vegeta.NewStaticTargeter(targets...)
}

// target returns the name of the target that a URL belongs to.
func (plan *Plan) target(url string) string {
	for _, target := range plan.Targets {
		if strings.HasPrefix(url, target.URL) {
			return target.Name
		}
	}
	return url
}
