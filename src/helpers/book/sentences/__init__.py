"""The study in words: sentences that follow from its tables by rule, so that they are true of whichever run is shown."""

from helpers.book.sentences.corpus import of_leak, of_merged, of_no_pair, of_reader
from helpers.book.sentences.findings import (
    of_answer,
    of_equal_epochs,
    of_equal_updates,
    of_ledger,
    of_missed,
    of_papers_sizes,
    of_relation,
    of_second_measure,
    of_sizes,
    of_undefined,
)
from helpers.book.sentences.gallery import of_gallery, of_pool, of_scale
from helpers.book.sentences.models import (
    of_check,
    of_departures,
    of_encoder,
    of_lengths,
    of_machines,
    of_negatives,
    of_quality,
    of_sampler,
)
from helpers.book.sentences.verdict import of_mistake, of_verdict

__all__ = [
    "of_answer", "of_check", "of_departures", "of_encoder", "of_equal_epochs", "of_equal_updates", "of_gallery", "of_leak", "of_ledger", "of_lengths", "of_machines", "of_merged", "of_missed", "of_mistake",
    "of_negatives", "of_no_pair", "of_papers_sizes", "of_pool", "of_quality", "of_reader", "of_relation", "of_sampler", "of_second_measure", "of_scale", "of_sizes", "of_undefined", "of_verdict",
]  # fmt: skip
