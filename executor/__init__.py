"""The executor: runs an agent's tasks as Docker containers or processes, keeps them registered in Consul, stops them gently."""
