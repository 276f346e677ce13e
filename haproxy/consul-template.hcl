# The agent's address comes from CONSUL_HTTP_ADDR, the token from CONSUL_HTTP_TOKEN (services/consul-template/run).
log_level = "warn"
# Its default is SIGINT alone; the init stops services by SIGTERM.
kill_signal = "SIGTERM"

consul {
  # attempts = 0: never give up. Until the agent answers, the candidate and thus HAProxy stay as they are.
  retry {
    enabled     = true
    attempts    = 0
    backoff     = "100ms"
    max_backoff = "2s"
  }
}

template {
  source      = "/etc/eratos-balancer/balancer.ctmpl"
  destination = "/var/lib/eratos-balancer/candidate.cfg"
  perms       = 0644

  # Quick when calm, coalescing in a storm. While a fleet starts, each rendering takes CPU away from the starts themselves: with
  # 20ms:100ms here, launching twenty workers on two cores took a fifth longer, and they were in rotation no sooner.
  wait {
    min = "80ms"
    max = "200ms"
  }
}
