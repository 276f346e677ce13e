"""What carries the output of processes."""

from __future__ import annotations

from eratos.executor.process.logs import LogPump


def test_a_pump_that_has_seen_that_it_is_to_stop_before_it_is_woken_stops_as_well() -> None:
    pump = LogPump()
    pump.start()
    pump._stopped = True
    pump._wake()
    pump._thread.join(10)
    pump.stop()
