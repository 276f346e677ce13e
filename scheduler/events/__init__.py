"""What happened, as ``/v2/events`` has it: derived from each pass of the loop, and kept for a while for its readers."""
