"""Load on an app of the cluster, or on a URL of this machine: `./dev load`, and what chaos and the benchmarks measure with.

The requests are made by the load generator (images/load), which runs in a container of its own; here is what is asked of it and
what is made of its answers.
"""
