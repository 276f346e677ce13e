"""What scheduler and executor share: ids, resources, the task payload, errors, back-off, logging.

Standard library only; the scheduler and the executor never import each other and meet in this package alone.
"""
