# A Consul server of the development cluster. Addresses and names come from the command line.
server             = true
bootstrap_expect   = 3
client_addr        = "0.0.0.0"
ui_config { enabled = true }
