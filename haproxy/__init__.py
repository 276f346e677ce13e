"""The companion of one balancer: applies, guards and confirms what HAProxy serves.

It runs beside one HAProxy in the same container and is alone in knowing HAProxy's sockets. consul-template hands it
candidate configurations (:mod:`.apply`), executors ask it whether a server is still used (:mod:`.api`, :mod:`.usage`).
Standard library only, no state worth keeping: it may be killed at any time, and the next one finds all it needs in
HAProxy and in the state folder.
"""
