# The Consul agent of one host. It answers on the host's own loopback only.
client_addr = "127.0.0.1"
