"""What the scheduler must not forget: the framework's id, the apps and the launched instances.

:mod:`base` is the contract, :func:`factory.open_store` picks a back end by URL, :mod:`codec` turns records into bytes.
"""
