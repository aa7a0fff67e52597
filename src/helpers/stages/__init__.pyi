from . import (
    clips as clips,
)
from . import (
    controls as controls,
)
from . import (
    corpus as corpus,
)
from . import (
    denoiser as denoiser,
)
from . import (
    detection as detection,
)
from . import (
    dose as dose,
)
from . import (
    duplicates as duplicates,
)
from . import (
    encoding as encoding,
)
from . import (
    findings as findings,
)
from . import (
    generation as generation,
)
from . import (
    planted as planted,
)
from . import (
    quality as quality,
)
from . import (
    references as references,
)
from . import (
    retrieval as retrieval,
)
from . import (
    roundtrip as roundtrip,
)
from . import (
    scores as scores,
)
from . import (
    thresholds as thresholds,
)
from . import (
    training as training,
)
from . import (
    twins as twins,
)
