"""One HTML page about one or several run folders: what they learned, and what is missing."""

from metarl.report.write import write_report

__all__ = ["write_report"]
