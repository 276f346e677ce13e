"""The pure half of the executor: what to do about each event. No sockets, threads, clocks or randomness."""
