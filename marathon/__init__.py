"""Marathon's language: the app definition, groups, their validation, and a client for any Marathon-compatible API."""
