# As beside HAProxy (../consul-template.hcl), but for what follows a rendering: nginx takes every change by a reload, so that a storm of them
# must be gathered for longer.
log_level   = "warn"
kill_signal = "SIGTERM"

consul {
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

  wait {
    min = "500ms"
    max = "2s"
  }

  command         = ["/opt/eratos/bin/apply"]
  command_timeout = "30s"
}
