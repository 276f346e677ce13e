"""Marathon's ``/v2`` API over the scheduler's core: requests become commands, answers are rendered from the state."""
