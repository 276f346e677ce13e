package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// echoEvery is the pause between two messages of a WebSocket.
const echoEvery = 500 * time.Millisecond

// pauseAfterFailure keeps a connection that fails at once from being tried in a tight loop.
const pauseAfterFailure = 200 * time.Millisecond

// hold keeps connections busy until the context ends: WebSockets that are echoed, and answers that take long.
func hold(ctx context.Context, plan Plan, book *book) *sync.WaitGroup {
	var waiting sync.WaitGroup
	client := &http.Client{
		// A redirect would lead to somebody else.
		Transport:     plan.transport(true, plan.Long.Count+plan.WebSockets.Count, false),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := func(kind string, count int, once func(context.Context, Target) (string, string)) {
		for number := range count {
			target := plan.Targets[number%len(plan.Targets)]
			waiting.Add(1)
			go func() {
				defer waiting.Done()
				for ctx.Err() == nil {
					began := time.Now()
					failure, detail := once(ctx, target)
					if ctx.Err() != nil {
						// What the end of the load cuts off is no answer; a WebSocket that was fine until then was one.
						if kind == "websocket" && failure == "" {
							book.addHeld(kind, target.Name, began, "", "")
						}
						return
					}
					book.addHeld(kind, target.Name, began, failure, detail)
					if failure != "" {
						wait(ctx, pauseAfterFailure)
					}
				}
			}()
		}
	}
	start("websocket", plan.WebSockets.Count, func(ctx context.Context, target Target) (string, string) {
		return echo(ctx, client, target.URL+plan.WebSockets.Path, plan.Host)
	})
	start("long", plan.Long.Count, func(ctx context.Context, target Target) (string, string) {
		return long(ctx, client, target.URL+plan.Long.Path, plan)
	})
	return &waiting
}

// echo opens a WebSocket and sends on it until it ends. An end that the server announces is none of a failure.
func echo(ctx context.Context, client *http.Client, url, host string) (string, string) {
	connection, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, Host: host})
	if err != nil {
		return kind(err.Error()), cut(err.Error())
	}
	defer func() { _ = connection.CloseNow() }()
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = connection.Write(within, websocket.MessageText, []byte("echo"))
		if err == nil {
			_, _, err = connection.Read(within)
		}
		cancel()
		switch {
		case ctx.Err() != nil:
			return "", ""
		case err == nil:
			wait(ctx, echoEvery)
		case websocket.CloseStatus(err) == websocket.StatusGoingAway || websocket.CloseStatus(err) == websocket.StatusNormalClosure:
			return "", ""
		default:
			return kind(err.Error()), cut(err.Error())
		}
	}
	return "", ""
}

// long asks for an answer that takes its time.
func long(ctx context.Context, client *http.Client, url string, plan Plan) (string, string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "other", cut(err.Error())
	}
	if plan.Host != "" {
		request.Host = plan.Host
	}
	answer, err := client.Do(request)
	if err != nil {
		return kind(err.Error()), cut(err.Error())
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err = io.Copy(io.Discard, answer.Body); err != nil {
		return kind(err.Error()), cut(err.Error())
	}
	if answer.StatusCode != http.StatusOK {
		return "status " + answer.Status[:3], answer.Status
	}
	if found := answer.Header.Get("X-Instance"); plan.wrong(found) {
		return wrongApp, "answered by " + orNobody(found)
	}
	return "", ""
}

func wait(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}
