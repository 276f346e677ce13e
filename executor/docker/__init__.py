"""Tasks as Docker containers: through the Engine API of the agent's host."""
