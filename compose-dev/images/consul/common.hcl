# What servers and clients of the development cluster share.
data_dir             = "/consul"
bind_addr            = "{{ GetInterfaceIP \"eth0\" }}"
log_level            = "WARN"
disable_update_check = true
# Timings for production machines; the default is five times slower, for the smallest cloud instances.
performance { raft_multiplier = 1 }
# Every server, so that a node can join whichever of them is alive, for as long as it takes.
retry_join     = ["consul1", "consul2", "consul3"]
retry_interval = "1s"
# A stop is not a goodbye: a restarted agent finds its services still in the catalogue, and a server its place in the quorum.
leave_on_terminate = false
skip_leave_on_interrupt = true
enable_script_checks = false
