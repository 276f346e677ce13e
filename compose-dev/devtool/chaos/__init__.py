"""Breaks the local cluster on purpose and says whether it came through: `./dev chaos`.

A fault is data: what it does, and what undoes it, as commands. What undoes it is in a journal on the disk before it is done, so
that a run which is interrupted, by kill -9 as well, is made good by the next one.
"""
