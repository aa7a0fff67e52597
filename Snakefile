# Orders the chapters and submits them, nothing more: whether a result is stale, the stage store decides.
#
#   snakemake --cores 2 --resources heavy=2 --config profile=smoke      here, one heavy job at a time (make book)
#   snakemake --executor slurm --jobs 8 --config profile=paper          on a cluster, with --default-resources
#                                                                       slurm_account=... slurm_partition=...
#
# A page is run again when its notebook, the code, the frozen models and sounds, an earlier page or its own sections of the
# profile have changed; a page of a published study, when any section has.
import os
import sys
from pathlib import Path

from helpers.book import pages as book_pages
from helpers.book.chapters import CHAPTERS, PER_SIZE
from helpers.sound.profiles import load_profile
from helpers.study import store

profile = load_profile(config.get("profile", "pocket"))
pages = book_pages.list_pages(profile)
MODELS = sorted(str(p) for p in Path("models").glob("*/*") if p.suffix in (".safetensors", ".json"))
PUBLISHED = sorted(str(path) for path in Path("results", profile.name).glob("manifest.json"))
DATA = [*MODELS, "data/sounds.parquet", "profiles/protocol.yml", *PUBLISHED]
CODE = sorted(str(path) for path in Path("src/helpers").rglob("*.py"))
STAMP = os.path.relpath(store.runs_root() / "stamps" / profile.name) + "/{stage}_n{n}_d{d}"
RESTORED = bool(PUBLISHED) and not os.environ.get("HELPERS_COMPUTE")
HEAVY = 1 if RESTORED else 2  # of 2: two pages at a time where they only show what is published
RUNS = [] if RESTORED else list(profile.runs)  # what chapters 05 to 07 need of each: draw 0 has pages, the others have none


def chapter_of(wildcards):
    return pages[wildcards.page][0]


def earlier_pages(wildcards):
    """The pages of the chapter before; for a training size, only the one of that size. None where all is restored."""
    if RESTORED:
        return []
    name, settings = pages[wildcards.page]
    names = list(CHAPTERS)
    before = [page for page in pages if pages[page][0] == names[names.index(name) - 1]] if name != names[0] else []
    if settings and name != PER_SIZE[0]:
        before = [page for page in before if pages[page][1] == settings]
    stamps = [STAMP.format(stage="quality", n=n, d=d) for n, d in RUNS] if name == "05_retrieval" else []
    return [f"book/chapters/{page}.ipynb" for page in before] + stamps


def as_settings(values):
    return " ".join(f"{key}={value}" for key, value in values.items())


wildcard_constraints:
    page="|".join(pages),
    stage="training|quality",
    n=r"\d+",
    d=r"\d+",


rule book:
    input:
        expand("book/chapters/{page}.ipynb", page=pages),


rule chapter:
    input:
        notebook=lambda w: f"notebooks/{chapter_of(w)}.ipynb",
        code=CODE,
        data=DATA,
        earlier=earlier_pages,
    output:
        "book/chapters/{page}.ipynb",
    # Snakemake passes it on as OMP_NUM_THREADS; one thread alone would train at two thirds the speed
    threads: max(1, workflow.cores // 2) if RESTORED else workflow.cores
    params:
        chapter=chapter_of,
        given=lambda w: as_settings(pages[w.page][1]),
        sections=lambda w: book_pages.every_setting(profile) if RESTORED else book_pages.page_settings(profile, w.page),
    resources:
        heavy=HEAVY,
        mem_mb=8000,  # pocket's need; a GPU job of the paper profile adds slurm_extra="'--gres=gpu:1'" and more of both
        runtime=720,  # minutes
    shell:
        "{sys.executable:q} -m helpers chapter {params.chapter} --profile {profile.name}"
        " --set {params.given} --output {output} > /dev/null"


def before_run(wildcards):
    """What a run's stage waits for: its page where it has one, else its own training."""
    if wildcards.stage == "training":
        return "book/chapters/02_codec.ipynb"
    has_page = wildcards.d == "0"
    page = f"book/chapters/04_generation_n{int(wildcards.n):05d}.ipynb"
    return page if has_page else STAMP.format(stage="training", n=wildcards.n, d=wildcards.d)


rule run:
    input:
        code=CODE,
        data=DATA,
        earlier=before_run,
    output:
        touch(STAMP),
    threads: workflow.cores
    params:
        sections=lambda w: book_pages.page_settings(
            profile, f"{'03_training' if w.stage == 'training' else '04_generation'}_n{int(w.n):05d}"
        ),
    resources:
        heavy=HEAVY,
        mem_mb=8000,
        runtime=720,
    shell:
        "{sys.executable:q} -m helpers run {wildcards.stage} --profile {profile.name}"
        " --set n_train={wildcards.n} draw={wildcards.d} > /dev/null"
