# The Consul agent of one host. It answers on the host's own loopback only.
client_addr = "127.0.0.1"
# Consul's own default for clients: stopped in good order, a host says so and is out of rotation at once. One that is killed does not.
leave_on_terminate = true
# A balancer watches each service over a connection of its own: at Consul's default of 200 balancers would stop following with as many apps.
# Consul does not start with fewer file descriptors than that (ulimits in compose.yaml).
limits { http_max_conns_per_client = 8000 }
