"""The instrument: detectors, search, bias, thresholds and rates; and what a study concludes: onsets, their relation, claims."""
