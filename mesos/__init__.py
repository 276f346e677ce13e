"""The transport of Mesos' v1 API, which the scheduler and the executor share: one IO thread, a subscription, calls, RecordIO."""
