"""The commands of ``eratos``, a module for each subject. Each reads its arguments, calls the API, shows the result."""
