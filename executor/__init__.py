"""The executor: runs tasks as Docker containers on one agent, keeps them registered in Consul, stops them gently."""
