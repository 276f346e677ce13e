package main

import (
	"math"
	"testing"
	"time"
)

func TestDue(t *testing.T) {
	constant := []Stage{{Seconds: 10, From: 5, To: 5}}
	ramp := []Stage{{Seconds: 10, From: 0, To: 10}}
	both := []Stage{{Seconds: 2, From: 0, To: 10}, {Seconds: 3, From: 10, To: 10}, {Seconds: 2, From: 10, To: 0}}
	pause := []Stage{{Seconds: 1, From: 2, To: 2}, {Seconds: 5, From: 0, To: 0}, {Seconds: 1, From: 2, To: 2}}
	for _, c := range []struct {
		name   string
		stages []Stage
		part   float64
		number uint64
		wanted float64
	}{
		{"the first is due at once", constant, 1, 0, 0},
		{"one every fifth of a second", constant, 1, 7, 1.4},
		{"half of the load is half as often", constant, 0.5, 7, 2.8},
		{"a ramp begins slowly", ramp, 1, 0, 0},
		{"half t squared", ramp, 1, 8, 4},
		{"at the end of a ramp", ramp, 1, 32, 8},
		{"the second stage begins where the first ends", both, 1, 10, 2},
		{"and is even", both, 1, 25, 3.5},
		{"the third slows down", both, 1, 40, 5},
		{"half of its requests are due early", both, 1, 45, 5.5857864},
		{"nothing is due in a pause", pause, 1, 2, 6},
		{"after the end everything is over", pause, 1, 4, 7},
	} {
		found := newSchedule(c.stages, c.part).due(c.number).Seconds()
		if math.Abs(found-c.wanted) > 1e-6 {
			t.Errorf("%s: %v s, not %v", c.name, found, c.wanted)
		}
	}
}

func TestPaceEndsWithTheLastRequest(t *testing.T) {
	made := newSchedule([]Stage{{Seconds: 1, From: 0, To: 10}, {Seconds: 1, From: 10, To: 10}}, 1)
	for _, c := range []struct {
		elapsed time.Duration
		hits    uint64
		wait    time.Duration
		stop    bool
	}{
		{0, 0, 0, false},
		{time.Second, 5, 0, false},
		{time.Second, 10, 500 * time.Millisecond, false},
		{3 * time.Second, 10, 0, false},
		{2 * time.Second, 15, 0, true},
	} {
		wait, stop := made.Pace(c.elapsed, c.hits)
		if wait.Round(time.Microsecond) != c.wait || stop != c.stop {
			t.Errorf("after %v and %d: %v, %v", c.elapsed, c.hits, wait, stop)
		}
	}
}
