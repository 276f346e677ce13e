# A Consul server of the development cluster. Addresses and names come from the command line.
server           = true
bootstrap_expect = 3
client_addr      = "0.0.0.0"
ui_config { enabled = true }
# A stop is not a goodbye: a restarted server finds its place in the quorum.
leave_on_terminate = false
