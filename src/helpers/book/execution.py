"""Chapters executed: a notebook run by Papermill with checked parameters, kept whole or not at all."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from helpers.base.paths import NOTEBOOKS, WORK, check_place, not_carried
from helpers.base.progress import say
from helpers.book.chapters import Chapter
from helpers.book.pages import list_pages, own_page
from helpers.book.parameters import PER_SIZE, check_parameters, known_parameters, read_parameters

KERNEL_ARGUMENTS = [
    "--IPKernelApp.log_level=CRITICAL",  # it warns of its sockets
    # jsonschema, which `glue` imports, loads every format checker there is. This one builds a grammar at import, which
    # takes seconds in every kernel, and no notebook has a use for it.
    "--IPKernelApp.exec_lines=import sys; sys.modules.setdefault('rfc3987_syntax', None); del sys",
]
LONGEST_SOCKET = 103  # bytes of a socket's path on macOS; 107 on Linux


class ChapterError(RuntimeError):
    """A chapter's notebook failed while it ran; the message is one line and says where the notebook was kept."""


def check_output(output: Path) -> None:
    """Raises ValueError for a place that must not be written: a folder, among the notebooks that chapters are run from, or what
    is no notebook."""
    if output.is_dir() or NOTEBOOKS.resolve() in output.resolve().parents:
        raise ValueError(f"--output: expected a notebook to write outside {NOTEBOOKS.name}/, got {output}")
    check_place(output, "notebook", "page.ipynb", [_draft(output).name, _failed(output).name])


def run_chapter(name: str, parameters: dict, output: Path, profile: str) -> Path:
    """Executes the chapter's notebook with `profile`'s values and `parameters` over them; returns `output`.

    All is checked before a kernel starts: ValueError and TypeError name the parameter. A notebook that fails is kept as
    `<output>.failed.ipynb`, and ChapterError says so; `output` exists only when all cells ran.
    """
    chapter = check_parameters(name, {"profile": profile, **parameters})
    notebook, output = NOTEBOOKS / f"{name}.ipynb", Path(output).resolve()
    if not notebook.is_file():
        raise ChapterError(f"{name}: expected its notebook at {notebook}, found none{not_carried(notebook)}")
    declared = read_parameters(notebook)
    if unknown := set(declared) - set(known_parameters(name)):
        raise ValueError(f"{notebook.name}: the parameters cell declares {min(unknown)!r}, which is not a setting")
    values = {"profile": profile}
    for key in dict.fromkeys((*declared, *parameters)):
        if key != "profile":
            value = getattr(chapter.config, key)
            values[key] = list(value) if isinstance(value, tuple) else value
    _execute(notebook, output, values, chapter)
    return output


def _failed(output: Path) -> Path:
    return output.with_suffix(".failed.ipynb")


def _draft(output: Path) -> Path:
    return output.with_name(f".{output.stem}.{os.getpid()}.ipynb")


def _execute(notebook: Path, output: Path, values: dict, chapter: Chapter):
    # Imported here: Papermill takes a second, which the command line spends only where a chapter runs.
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)
    output.parent.mkdir(parents=True, exist_ok=True)
    failed, draft = _failed(output), _draft(output)
    failed.unlink(missing_ok=True)
    start = time.perf_counter()
    say(f"{output.stem}: running")
    try:
        with _sockets() as manager:
            book = papermill.execute_notebook(
                notebook,
                draft,
                values,
                kernel_name="python3",
                progress_bar=False,
                cwd=WORK.absolute(),
                start_timeout=300,
                iopub_timeout=300,  # a page of many sounds took more than the 4 s given, on a busy machine
                extra_arguments=KERNEL_ARGUMENTS,
                config=Config(KernelManager=manager),
            )
    except (papermill.PapermillExecutionError, DeadKernelError) as error:
        os.replace(draft, failed)
        output.unlink(missing_ok=True)  # an older one, which this no longer stands for
        raise ChapterError(f"{output.stem}: {_summary(error)}; the notebook as far as it ran: {failed}") from None
    finally:
        draft.unlink(missing_ok=True)
    if chapter.name in PER_SIZE and output.stem not in list_pages(chapter.profile):  # in the book a tab names it
        title, _, rest = book.cells[0].source.partition("\n")
        book.cells[0].source = f"{title} on {chapter.config.n_train:,} clips\n{rest}"
    if chapter.changed and output == own_page(chapter).resolve():
        from helpers.book import changes  # pandas, too, only where a chapter ran

        baseline = check_parameters(chapter.name, {"profile": chapter.profile.name})
        title, _, rest = book.cells[0].source.partition("\n")
        book.cells[0].source = f"{title}\n\n{changes.opening(chapter, book, baseline, own_page(baseline))}\n{rest}"
    for cell in book.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")
        # one that found nothing to draw says so; under a sentence no figure's caption may stand
        shown = (output.get("data", {}).get("text/html", "") for output in cell.get("outputs", ()))
        if not any("figure-box" in html for html in shown):
            cell.metadata.get("mystnb", {}).pop("figure", None)
    # no machine's paths
    book.metadata.papermill.update(input_path=f"notebooks/{notebook.name}", output_path=output.name)
    nbformat.write(book, draft)
    os.replace(draft, output)
    say(f"{output.stem}: done in {time.perf_counter() - start:.1f} s")


@contextlib.contextmanager
def _sockets() -> Iterator[dict]:
    """What a kernel manager is told of its sockets: they lie in a folder of this kernel's own.

    TCP ports are picked before they are bound, and kernels that start at the same time have picked the same (papermill
    issue 511). They are taken only where no folder for temporary files has a path short enough for a socket.
    """
    manager = {}
    with contextlib.ExitStack() as stack:
        for place in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
            if not manager and len(os.fsencode(place)) + len("/kernel-12345678/k-1") <= LONGEST_SOCKET:
                with contextlib.suppress(OSError):  # not there, or not to be written
                    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kernel-", dir=place))
                    manager = {"transport": "ipc", "ip": f"{folder}/k"}
        yield manager


def _summary(error: Exception) -> str:
    if not hasattr(error, "ename"):
        return "the kernel died, perhaps for want of memory"
    reason = (str(error.evalue).strip().splitlines() or [""])[0]
    return f"code cell {error.exec_count} failed with {error.ename}: {reason}"
