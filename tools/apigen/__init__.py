"""From an API's description and a table of names to Python packages; run as `python -m tools.apigen`."""
