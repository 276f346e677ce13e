# The Consul agent of one host. It answers on the host's own loopback only.
client_addr = "127.0.0.1"
# Consul's own default for clients: stopped in good order, a host says so and is out of rotation at once. One that is killed does not.
leave_on_terminate = true
