"""From a description of an image to one in a registry, by ``eratos build``."""
