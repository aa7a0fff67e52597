"""The instrument: detectors, search, bias, thresholds and rates; what a study concludes is in `conclusions`, the audit in `audit`."""
