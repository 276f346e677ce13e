"""The ``eratos`` command: Marathon's API from the shell, over HTTP alone."""
