package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// told runs a load on a server and returns the summary.
func told(t *testing.T, plan Plan, answer http.HandlerFunc) Summary {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	plan.Targets = []Target{{"one", server.URL}}
	plan.Method, plan.Path, plan.TimeoutS = "GET", "/", 5
	if plan.UnderWay == 0 {
		plan.UnderWay = 100
	}
	if err := plan.check(1000); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	run(context.Background(), plan, json.NewEncoder(&out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var last struct{ Summary Summary }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	return last.Summary
}

func as(instance string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if instance != "" {
			w.Header().Set("X-Instance", instance)
		}
		_, _ = io.WriteString(w, "ok")
	}
}

var twenty = []Stage{{Seconds: 0.2, From: 100, To: 100}}

func TestWhoAnswers(t *testing.T) {
	for _, c := range []struct {
		name     string
		instance string
		named    bool
		answered string
		wrong    int
	}{
		{"the app itself", "prime.instance-", true, "prime.instance-1._app.1", 0},
		{"another app", "prime.instance-", false, "hello.instance-1._app.1", 20},
		{"an app whose name begins alike", "prime.instance-", false, "prime_two.instance-1._app.1", 20},
		{"somebody without a name, where all have one", "prime.instance-", true, "", 20},
		{"somebody without a name, where none has one", "prime.instance-", false, "", 0},
		{"whoever it is", "", false, "hello", 0},
	} {
		found := told(t, Plan{Stages: twenty, KeepAlive: 0.5, Instance: c.instance, Named: c.named}, as(c.answered))
		if found.Requests != 20 || found.WrongApp != c.wrong || found.Reasons[wrongApp] != c.wrong || found.Failed != c.wrong {
			t.Errorf("%s: %+v", c.name, found)
		}
		if c.answered == "" && c.wrong == 0 && found.Unnamed != 20 {
			t.Errorf("%s: %d without a name", c.name, found.Unnamed)
		}
	}
}

func TestAnErrorOfAnotherAppIsTheWrongAppAsWell(t *testing.T) {
	found := told(t, Plan{Stages: twenty, Instance: "prime."}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Instance", "hello.instance-1")
		http.NotFound(w, r)
	})
	if found.WrongApp != 20 {
		t.Errorf("%+v", found)
	}
}

func TestALatencyCountsFromWhenTheRequestWasDue(t *testing.T) {
	var first atomic.Bool
	// One request at a time, and the first takes half a second: those behind it wait, and that is told of them.
	plan := Plan{Stages: []Stage{{Seconds: 0.5, From: 40, To: 40}}, KeepAlive: 1, UnderWay: 1}
	found := told(t, plan, func(http.ResponseWriter, *http.Request) {
		if first.CompareAndSwap(false, true) {
			time.Sleep(500 * time.Millisecond)
		}
	})
	if found.P50S < 0.1 || found.LateMostS < 0.2 {
		t.Errorf("%+v", found)
	}
}

func TestHTTP2(t *testing.T) {
	var versions atomic.Int64
	found := told(t, Plan{Stages: twenty, KeepAlive: 1, HTTP2: true}, func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			versions.Add(1)
		}
	})
	if found.Failed != 0 || versions.Load() != 20 {
		t.Errorf("%d by HTTP/2, %+v", versions.Load(), found)
	}
}

func TestClientsAskAsFastAsTheyGetAnswers(t *testing.T) {
	var now, most atomic.Int64
	found := told(t, Plan{Stages: []Stage{{Seconds: 0.3}}, KeepAlive: 0.5, Clients: 4}, func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(time.Millisecond)
		now.Add(-1)
	})
	if found.Failed != 0 || found.Requests < 20 || most.Load() > 4 {
		t.Errorf("%d at a time, %+v", most.Load(), found)
	}
}

func TestFailuresByKind(t *testing.T) {
	for _, c := range []struct {
		name   string
		reason string
		answer http.HandlerFunc
	}{
		{"a status", "status 503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{"nothing", "cut off", func(w http.ResponseWriter, _ *http.Request) {
			connection, _, _ := w.(http.Hijacker).Hijack()
			_ = connection.Close()
		}},
		{"half of an answer", "cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		}},
	} {
		found := told(t, Plan{Stages: twenty}, c.answer)
		if found.Reasons[c.reason] != 20 || len(found.Failures) != 20 || found.Targets["one"].Failed != 20 {
			t.Errorf("%s: %+v", c.name, found)
		}
	}
}

func TestConnectionsThatAreKeptBusy(t *testing.T) {
	plan := Plan{
		Stages: []Stage{{Seconds: 1.3, From: 5, To: 5}}, Instance: "prime.",
		WebSockets: Held{2, "/ws"}, Long: Held{2, "/long"},
	}
	found := told(t, plan, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Instance", "prime.1")
		switch r.URL.Path {
		case "/ws":
			connection, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			for i := 0; i < 2; i++ {
				kind, text, err := connection.Read(r.Context())
				if err != nil {
					return
				}
				_ = connection.Write(r.Context(), kind, text)
			}
			_ = connection.Close(websocket.StatusGoingAway, "")
		case "/long":
			time.Sleep(300 * time.Millisecond)
			w.Header().Set("X-Instance", "hello.1")
		}
	})
	if found.Failed != 0 || found.Held["websocket"].Requests < 2 || found.Held["websocket"].Failed != 0 {
		t.Errorf("%+v", found)
	}
	if long := found.Held["long"]; long.Requests < 4 || long.Reasons[wrongApp] != long.Requests || found.WrongApp != long.Requests {
		t.Errorf("%+v", found)
	}
}

func TestBadPlans(t *testing.T) {
	good := func() Plan {
		return Plan{Targets: []Target{{"one", "http://127.0.0.1"}}, Stages: twenty, TimeoutS: 1, UnderWay: 1}
	}
	if made := good(); made.check(65) != nil {
		t.Error(made.check(65))
	}
	for word, change := range map[string]func(*Plan){
		"targets":     func(p *Plan) { p.Targets = nil },
		"stages":      func(p *Plan) { p.Stages = nil },
		"keep_alive":  func(p *Plan) { p.KeepAlive = 2 },
		"timeout_s":   func(p *Plan) { p.TimeoutS = 0 },
		"under_way":   func(p *Plan) { p.UnderWay = 0 },
		"clients":     func(p *Plan) { p.Clients = -1 },
		"descriptors": func(p *Plan) { p.WebSockets.Count = 1 },
	} {
		plan := good()
		change(&plan)
		if err := plan.check(65); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}
