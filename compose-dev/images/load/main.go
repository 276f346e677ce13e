// The load generator of ./dev load, chaos and the benchmarks: an open load on one app through several balancers.
//
// It reads a plan as JSON from standard input and writes JSON lines: one each second, and one with everything at the end. Requests
// start when they are due, however long earlier ones take, and a latency counts from when its request was due: a stall of
// the server, or of this program, is not left out of the percentiles (coordinated omission). Sending and pacing are vegeta's.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
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
	Instance   string            `json:"instance"` // what X-Instance must begin with; empty: whatever it is
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
	if err := plan.check(); err != nil {
		fail("%v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run(ctx, plan, json.NewEncoder(os.Stdout))
}

func fail(format string, words ...any) {
	fmt.Fprintf(os.Stderr, "error: "+format+"\n", words...)
	os.Exit(2)
}

func (plan *Plan) check() error {
	switch {
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
		go attack(ctx, plan, share.keep, share.part, results)
	}
	held, end := context.WithCancel(ctx)
	waiting := hold(held, plan, book)

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
	_ = out.Encode(map[string]any{"summary": book.summary(time.Now())})
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
func attack(ctx context.Context, plan Plan, keep bool, part float64, results chan<- outcome) {
	schedule := newSchedule(plan.Stages, part)
	options := []func(*vegeta.Attacker){
		vegeta.Timeout(time.Duration(plan.TimeoutS * float64(time.Second))),
		vegeta.KeepAlive(keep),
		vegeta.MaxWorkers(uint64(plan.UnderWay)),
		vegeta.Connections(plan.UnderWay),
		vegeta.Redirects(vegeta.NoFollow),
		vegeta.MaxBody(4096),
		// The balancers' certificates are the local cluster's own.
		vegeta.TLSConfig(&tls.Config{InsecureSkipVerify: true, ServerName: plan.Host}),
		vegeta.HTTP2(plan.HTTP2),
	}
	if plan.HTTP2 && strings.HasPrefix(plan.Targets[0].URL, "http://") {
		options = append(options, vegeta.H2C(true))
	}
	attacker := vegeta.NewAttacker(options...)
	began := time.Now()
	go func() {
		<-ctx.Done()
		attacker.Stop()
	}()
	for result := range attacker.Attack(plan.targeter(), schedule, 0, "") {
		due := began.Add(schedule.due(result.Seq))
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
