"""The executor side of the Mesos v1 API: the only importer of pymesos in this process."""
