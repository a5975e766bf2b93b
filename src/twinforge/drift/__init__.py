"""Has the world drifted from the one the twin was made in? Whitened residuals, detectors, thresholds, names. Arrays in, arrays out."""

from twinforge.drift.detectors import ADWIN, CUSUM, KSWIN, MMD, Detector, PageHinkley
from twinforge.drift.naming import deviations, since
from twinforge.drift.reference import Reference, Vectors, Watched
from twinforge.drift.thresholds import Threshold, bootstrap, run_length_of, threshold_for
from twinforge.drift.whitening import Whitener

__all__ = [
    "ADWIN", "CUSUM", "KSWIN", "MMD", "Detector", "PageHinkley", "Reference", "Threshold", "Vectors", "Watched", "Whitener", "bootstrap",
    "deviations", "run_length_of", "since", "threshold_for",
]  # fmt: skip
