"""Who may do what with the API: credentials, roles, and how often somebody may guess. No HTTP here."""
