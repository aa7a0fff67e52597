"""faiss beside torch on macOS, where each brings an OpenMP runtime of its own.

Linux gives the packages' runtimes private names and is left alone. On macOS two libomp.dylib in one process end it, in two
ways (faiss-wheels issue 73, pytorch issue 149201):

- The second runtime to start stops the process ("OMP: Error #15"). KMP_DUPLICATE_LIB_OK lets it go on. LLVM calls that
  unsafe; it is what lets the other two measures come into play.
- The runtimes mix up their threads: a segmentation fault in ``__kmp_suspend``, in torch where faiss was loaded first
  (faiss issue 4273: the other order is safe), and in faiss' own parallel loops where torch was (faiss issues 2317,
  2555). So torch is loaded first, and faiss keeps to one thread, as txtai (pull request 818) and torchgeo-bench (pull
  request 139) do.

Not tested on macOS here.
"""

import os
import sys
from types import ModuleType


def import_faiss() -> ModuleType:
    """Import faiss so that it can work beside torch, and return it. All of the package's imports of faiss go through here."""
    if sys.platform != "darwin":
        import faiss

        return faiss
    os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")  # read when the second runtime starts
    import torch  # noqa: F401, I001 (before faiss)
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss
