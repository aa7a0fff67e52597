"""The stages, a module each: stage X is computed by `X.compute`. A module is imported when it is asked for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
