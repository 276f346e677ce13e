"""Tasks as processes of the host, each below a keeper."""
