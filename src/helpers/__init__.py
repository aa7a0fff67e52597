"""What other programs may import: the instrument behind the book, from sound to verdict.

`from helpers import audit, log_mel, ...`: a name is imported when it is asked for, so that nobody waits for a library
that is not used. The page "The instrument" of the book shows each in use; `study.graph` draws how data flows.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
