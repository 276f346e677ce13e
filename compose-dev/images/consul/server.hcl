# A Consul server of the development cluster.
server      = true
client_addr = "0.0.0.0"
# Of servers of another data center.
retry_interval_wan = "1s"
ui_config { enabled = true }
# A stop is not a goodbye: a restarted server finds its place in the quorum.
leave_on_terminate = false
# Of the write-ahead log the pages written last stay in memory; by default a file of it has 64 MiB.
raft_logstore {
  wal { segment_size_mb = 4 }
}
