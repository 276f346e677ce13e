"""The scheduler's decisions, pure: events in, actions out.

Nothing in here knows of sockets, threads, clocks or randomness: ``now`` and the source of ids are arguments.
"""
