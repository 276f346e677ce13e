# The agent's address comes from CONSUL_HTTP_ADDR, the token from CONSUL_HTTP_TOKEN (services/consul-template/run).
log_level = "warn"
# Its default is SIGINT alone; the init stops services by SIGTERM.
kill_signal = "SIGTERM"

consul {
  # attempts = 0: never give up. Until the agent answers, the facts and thus HAProxy stay as they are.
  retry {
    enabled     = true
    attempts    = 0
    backoff     = "100ms"
    max_backoff = "2s"
  }
}

template {
  source      = "/etc/eratos-balancer/facts.ctmpl"
  destination = "/var/lib/eratos-balancer/facts.json"
  perms       = 0644

  # Quick when calm, coalescing in a storm: with 80ms:200ms the rotation was a fifth further behind Consul at 50 and at 90 changes a second (a run each),
  # and twenty workers were launched no sooner.
  wait {
    min = "50ms"
    max = "100ms"
  }
}
