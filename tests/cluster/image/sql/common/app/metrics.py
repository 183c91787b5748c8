"""Counters in Prometheus' text format."""

import threading
from collections import Counter

BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

lock = threading.Lock()
requests = Counter({200: 0, 500: 0})
durations = Counter()
total = 0.0


def count(code, seconds):
    """Counts a request that was answered."""
    global total
    with lock:
        requests[code] += 1
        total += seconds
        for bucket in BUCKETS:
            durations[bucket] += seconds <= bucket


def text():
    """What Prometheus reads."""
    with lock:
        number = sum(requests.values())
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{code="{code}"}} {value}' for code, value in sorted(requests.items())]
        lines += ["# TYPE http_request_duration_seconds histogram"]
        lines += [f'http_request_duration_seconds_bucket{{le="{bucket}"}} {durations[bucket]}' for bucket in BUCKETS]
        lines += [f'http_request_duration_seconds_bucket{{le="+Inf"}} {number}']
        lines += [f"http_request_duration_seconds_sum {total}", f"http_request_duration_seconds_count {number}"]
    return "\n".join(lines) + "\n"
