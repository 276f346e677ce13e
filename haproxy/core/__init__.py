"""What a balancer decides: facts of Consul -> model -> text. Pure, so that each rule is a table test of milliseconds.

:mod:`.services` makes a model of facts, :mod:`.guard` puts back what must not be lost yet, :mod:`.haproxy_text` and
:mod:`.nginx_text` write a model down, :mod:`.usage` reads HAProxy's answers.
"""
