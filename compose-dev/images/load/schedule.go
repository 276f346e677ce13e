package main

import (
	"math"
	"time"
)

// Stage is a part of a load: its rate goes evenly from one to another, in requests a second.
type Stage struct {
	Seconds float64 `json:"seconds"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
}

// schedule says when each request is due. It is a vegeta.Pacer.
type schedule struct {
	stages []scheduled
}

type scheduled struct {
	Stage
	begin  float64 // seconds since the load began
	before float64 // requests before this stage
	hits   float64 // requests in it
}

// newSchedule returns the schedule for a share of a load.
func newSchedule(stages []Stage, part float64) *schedule {
	made := &schedule{}
	begin, before := 0.0, 0.0
	for _, stage := range stages {
		stage.From *= part
		stage.To *= part
		hits := (stage.From + stage.To) / 2 * stage.Seconds
		made.stages = append(made.stages, scheduled{stage, begin, before, hits})
		begin += stage.Seconds
		before += hits
	}
	return made
}

// due returns when the request of a number is to start, from the load's beginning; the first is number 0.
func (s *schedule) due(number uint64) time.Duration {
	at := float64(number)
	for _, stage := range s.stages {
		if at < stage.before+stage.hits {
			return seconds(stage.begin + stage.reaches(at-stage.before))
		}
	}
	last := s.stages[len(s.stages)-1]
	return seconds(last.begin + last.Seconds)
}

// reaches returns after how many seconds of a stage so many of its requests were due.
func (s scheduled) reaches(hits float64) float64 {
	slope := (s.To - s.From) / s.Seconds
	if math.Abs(slope) < 1e-9 {
		if s.From <= 0 {
			return s.Seconds
		}
		return hits / s.From
	}
	// hits = From*t + slope/2*t*t
	root := math.Sqrt(math.Max(0, s.From*s.From+2*slope*hits))
	return math.Min(s.Seconds, (root-s.From)/slope)
}

// Pace tells vegeta how long to wait until the next request, and when all were sent.
func (s *schedule) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	last := s.stages[len(s.stages)-1]
	if float64(hits) >= last.before+last.hits {
		return 0, true
	}
	return max(0, s.due(hits)-elapsed), false
}

// Rate returns the requests a second that are due at a time.
func (s *schedule) Rate(elapsed time.Duration) float64 {
	at := elapsed.Seconds()
	for _, stage := range s.stages {
		if at < stage.begin+stage.Seconds {
			return stage.From + (stage.To-stage.From)*(at-stage.begin)/stage.Seconds
		}
	}
	return 0
}

// unhurried paces nothing: whoever has an answer asks again, until the schedule's time is over.
type unhurried struct {
	*schedule
}

// Pace lets a request go at once, or ends the load.
func (u unhurried) Pace(elapsed time.Duration, _ uint64) (time.Duration, bool) {
	last := u.stages[len(u.stages)-1]
	return 0, elapsed.Seconds() >= last.begin+last.Seconds
}

func seconds(value float64) time.Duration {
	return time.Duration(value * float64(time.Second))
}
