"""What ./dev does: brings up the Docker engine, the images, the cluster of compose.yaml and its workers.

The standard library alone, for Python 3.8 and later, since it runs before anything is installed. It knows the cluster from
outside only: Docker's command line and the HTTP interfaces that are published on this machine.
"""
