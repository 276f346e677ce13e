"""The balancer companion: decides what one HAProxy serves, applies it, guards it, and says what is still in use.

It runs beside that HAProxy in the same container and is alone in knowing its sockets. consul-template hands it facts
(``facts.ctmpl``), of which :mod:`.core` makes a configuration and :mod:`.apply` what HAProxy runs; executors ask it whether a
server is still used (:mod:`.api`). Standard library only, no state worth keeping: it may be killed at any time, and the next
one finds all it needs in HAProxy and in the state folder.
"""
