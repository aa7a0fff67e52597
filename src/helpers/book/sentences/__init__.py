"""The study in words: sentences that follow from its tables by rule, so that they are true of whichever run is shown."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
