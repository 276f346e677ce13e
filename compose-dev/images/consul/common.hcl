# What servers and clients of the development cluster share. Names and addresses come from the command line.
data_dir             = "/consul"
log_level            = "WARN"
disable_update_check = true
# Timings for production machines; the default is five times slower, for the smallest cloud instances.
performance { raft_multiplier = 1 }
# Every server, so that a node can join whichever of them is alive, for as long as it takes.
retry_join     = ["consul1", "consul2", "consul3"]
retry_interval = "1s"
enable_script_checks = false
