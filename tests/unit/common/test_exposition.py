"""Prometheus' text format, read by Prometheus' own client."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from eratos.common import exposition
from eratos.common.exposition import Family, Histogram, Sample


def read(*families: Family) -> dict[str, float]:
    """Return each sample by its name and labels as the client's parser reads them."""
    text = exposition.render(families).decode()
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_gauges_are_read_as_what_they_are() -> None:
    families = (exposition.counter("a_total", "Counts.", 3), exposition.gauge("b", "Holds.", 0.25))
    assert read(*families) == {"a_total": 3, "b": 0.25}
    kinds = {found.name: found.type for found in text_string_to_metric_families(exposition.render(families).decode())}
    assert kinds == {"a": "counter", "b": "gauge"}


def test_large_and_small_values_keep_their_digits() -> None:
    assert read(exposition.gauge("a", "x", 123456789.0), exposition.gauge("b", "x", 0.1)) == {"a": 123456789.0, "b": 0.1}


def test_labels_and_texts_may_hold_anything() -> None:
    odd = 'a "quoted"\\ \n line'
    family = Family("a", "gauge", odd, (Sample(1, {"app": odd}),))
    (found,) = text_string_to_metric_families(exposition.render([family]).decode())
    assert (found.documentation, found.samples[0].labels["app"]) == (odd, odd)


def test_a_family_has_a_sample_for_each_value_of_its_label() -> None:
    assert read(exposition.by_label("gauge", "a", "x", "k", {"v": 1, "u": 2})) == {"a,k=u": 2, "a,k=v": 1}


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram("h_seconds", "x", (0.5, 1))
    for seconds in (0.5, 0.6, 1.0, 9.0):
        histogram.observe(seconds)
    buckets = {"h_seconds_bucket,le=0.5": 1, "h_seconds_bucket,le=1": 3, "h_seconds_bucket,le=+Inf": 4}
    assert read(histogram.family()) == {**buckets, "h_seconds_sum": 11.1, "h_seconds_count": 4}


def test_a_process_says_what_it_takes() -> None:
    found = read(*exposition.of_process())
    assert found.keys() == {"process_cpu_seconds_total", "process_start_time_seconds", "process_resident_memory_bytes"}
    assert found["process_resident_memory_bytes"] > 1_000_000
