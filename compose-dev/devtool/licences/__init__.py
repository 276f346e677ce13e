"""Under which licences everything stands that is installed, built in or used to build: `./dev licences` and docs/licences.md.

What there is, is named by lock files and by the images' own lists; under which licence it stands, by the packages themselves.
"""
