package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// client returns what sends one share of the load, over kept or single connections, and counts what it had to send once more.
func (plan *Plan) client(keep bool, most int, retried *atomic.Int64) *http.Client {
	return &http.Client{Transport: counting{plan.transport(keep, most, plan.HTTP2), retried}}
}

// transport speaks with the targets alone: the environment's proxies are passed by.
func (plan *Plan) transport(keep bool, most int, http2 bool) *http.Transport {
	name := plan.Host
	if host, _, err := net.SplitHostPort(plan.Host); err == nil {
		name = host
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		// The balancers' certificates are the local cluster's own.
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, ServerName: name},
		MaxIdleConnsPerHost: most,
		DisableKeepAlives:   !keep,
		DisableCompression:  true,
		Protocols:           protocols,
	}
}

// counting counts the requests for which Go took a second connection: where a kept one turns out closed before the first byte of
// an answer, RFC 9112 (9.3.1) asks clients to send once more what may be repeated.
type counting struct {
	under   http.RoundTripper
	retried *atomic.Int64
}

func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	connections := 0
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if connections++; connections > 1 {
			c.retried.Add(1)
		}
	}}
	return c.under.RoundTrip(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
}
