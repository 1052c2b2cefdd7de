"""A track record as the data of a tear sheet: everything a page shows, nothing of how it looks."""

from evaluation.tearsheet.record import Sections, TrackRecord
from evaluation.tearsheet.series import ROLLING_DAYS, thinned
from evaluation.tearsheet.sheet import TearSheet, tear_sheet

__all__ = ["ROLLING_DAYS", "Sections", "TearSheet", "TrackRecord", "tear_sheet", "thinned"]
