from .corpus import (
    of_leak as of_leak,
    of_merged as of_merged,
    of_no_pair as of_no_pair,
    of_reader as of_reader,
)
from .findings import (
    of_answer as of_answer,
    of_equal_moments as of_equal_moments,
    of_ledger as of_ledger,
    of_missed as of_missed,
    of_papers_sizes as of_papers_sizes,
    of_relation as of_relation,
    of_second_measure as of_second_measure,
    of_undefined as of_undefined,
)
from .gallery import (
    of_gallery as of_gallery,
    of_pool as of_pool,
    of_scale as of_scale,
)
from .models import (
    of_check as of_check,
    of_departures as of_departures,
    of_encoder as of_encoder,
    of_lengths as of_lengths,
    of_machines as of_machines,
    of_negatives as of_negatives,
    of_quality as of_quality,
    of_sampler as of_sampler,
)
from .verdict import (
    of_judgement as of_judgement,
    of_line as of_line,
    of_verdict as of_verdict,
)
