"""What a call costs, against other clients: `python -m benchmarks`, or `nox -s bench` with every peer installed."""
