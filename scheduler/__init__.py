"""The scheduler: decides what runs where, and keeps it so."""
