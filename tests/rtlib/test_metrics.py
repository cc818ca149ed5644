"""The metrics page, read back with Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from rtlib.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


class MetricsTests(SynchronousTestCase):
    """Numbers that are read when somebody asks."""

    def test_values_are_read_at_each_scrape(self) -> None:
        metrics, calls = Metrics("toy", "1.2"), [1]
        metrics.counter("calls", "Calls.", lambda: calls[0])
        metrics.gauge("streams", "Streams.", lambda: {"rtp": 3, 'o"dd\n': 4}, "kind")
        metrics.gauge("links", "Links.", lambda: {("a", "up"): 1.5}, "peer", "state")
        self.assertEqual(samples(metrics)["toy_calls_total", ()], 1)
        calls[0] = 5
        shown = samples(metrics)
        self.assertEqual(shown["toy_calls_total", ()], 5)
        self.assertEqual(shown["toy_streams", ("rtp",)], 3)
        self.assertEqual(shown["toy_streams", ('o"dd\n',)], 4)
        self.assertEqual(shown["toy_links", ("a", "up")], 1.5)
        self.assertEqual(shown["toy_build_info", ("1.2",)], 1)
        self.assertGreater(shown["process_resident_memory_bytes", ()], 0)

    def test_one_metric_that_cannot_be_read_hides_no_other(self) -> None:
        metrics = Metrics("toy", "1")
        empty: dict[str, float] = {}
        metrics.gauge("broken", "Broken.", lambda: empty["missing"])
        metrics.gauge("whole", "Whole.", lambda: 1)
        shown = samples(metrics)
        self.assertEqual(shown["toy_whole", ()], 1)
        self.assertNotIn(("toy_broken", ()), shown)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_registering_reads_nothing_and_a_name_is_taken_once(self) -> None:
        metrics, reads = Metrics("toy", "1"), list[int]()

        def read() -> float:
            reads.append(1)
            return 1.0

        metrics.gauge("once", "Once.", read)
        self.assertEqual(reads, [])
        with self.assertRaisesRegex(ValueError, "toy_once"):
            metrics.gauge("once", "Again.", lambda: 1)

    def get(self, path: bytes) -> bytes:
        transport = StringTransport()
        protocol = Metrics("toy", "1").site().buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET " + path + b" HTTP/1.0\r\n\r\n")
        data: bytes = transport.value()
        return data

    def test_the_page_is_served_where_prometheus_looks(self) -> None:
        head, _, body = self.get(b"/metrics").partition(b"\r\n\r\n")
        self.assertIn(b" 200 OK", head)
        self.assertIn(b"content-type: text/plain;", head.lower())
        self.assertIn(b"toy_build_info", body)
        self.assertIn(b" 404 ", self.get(b"/"))
