"""What a study concludes: onsets and their relation with the size of the set, doses, prevention, and the ledger of claims."""
