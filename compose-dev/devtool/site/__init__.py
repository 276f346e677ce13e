"""The documents as a site: Sphinx reads the same Markdown that is read on a forge, and is strict about each link.

docs/adr/0042 says why Sphinx, MyST and Furo. `./dev lint` checks all links, `./dev docs --site` builds the pages.
"""
