# What servers and clients of the development cluster share. Names, addresses and whom to join come from the command line.
data_dir             = "/consul"
log_level            = "WARN"
disable_update_check = true
# Timings for production machines; the default is five times slower, for the smallest cloud instances.
performance { raft_multiplier = 1 }
retry_interval       = "1s"
enable_script_checks = false
