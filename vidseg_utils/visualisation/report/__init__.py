"""The report: one page over all run folders, for a hand-in or a meeting."""

from vidseg_utils.visualisation.report.page import write_report

__all__ = ["write_report"]
