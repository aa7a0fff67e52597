# Orders the chapters and submits them, nothing more: whether a result is stale, the stage store decides.
#
#   snakemake --cores 2 --resources heavy=2 --config profile=smoke      here, one heavy job at a time (make book)
#   snakemake --profile profiles/slurm --config profile=paper shards=16 gres=gpu:1   on a cluster: see that file
#
# shards=N cuts encoding, embedding and the generation of each run into N jobs; max_runtime=MINUTES is the longest that a
# job may ask for: these and training go on where one was cut off. Memory and time of a job are those of `helpers plan`.
# gres=gpu:1 asks Slurm for a GPU for each job that computes with a network, and for no other. (An audit asks for it, too.)
#
# snakemake --cores 2 audit --config shards=4 audit="--generated made --training learned --honest others --keep kept" audits a
# model, with any options of `helpers audit`: the training and honest files in 4 jobs, which put what they compute into the
# folder kept, then all as one.
#
# A page is run again when its notebook, the code, the frozen models and sounds, an earlier page or its own sections of the
# profile have changed; a page of a published study, when any section has.
import hashlib
import os
import shlex
import sys
from pathlib import Path

from helpers.book import pages as book_pages
from helpers.book.chapters import CHAPTERS, PER_SIZE, Chapter, chapter_stages
from helpers.sound.profiles import load_profile
from helpers.study import plan, registry, store

profile = load_profile(config.get("profile", "pocket"))
pages = book_pages.list_pages(profile)
MODELS = sorted(str(p) for p in Path("models").glob("*/*") if p.suffix in (".safetensors", ".json"))
PUBLISHED = sorted(map(str, Path("results").glob(f"{profile.name}*/manifest.json")))  # of what changes one thing in it, too
DATA = [*MODELS, "data/sounds.parquet", "profiles/protocol.yml", *PUBLISHED]
CODE = sorted(str(path) for path in Path("src/helpers").rglob("*.*") if path.suffix in (".py", ".js", ".css"))
STAMP = os.path.relpath(store.runs_root() / "stamps" / profile.name) + "/{stage}_n{n}_d{d}"
SHARD = os.path.dirname(STAMP) + "/{work}_shard{k}"
RESTORED = bool(PUBLISHED) and not os.environ.get("HELPERS_COMPUTE")
HEAVY = 1 if RESTORED else 2  # of 2: two pages at a time where they only show what is published
SHARDS = 0 if RESTORED else int(config.get("shards", 0))
MAX_RUNTIME = int(config.get("max_runtime", 1440))  # minutes
GRES = config.get("gres", "")
AUDIT_THREADS = 64  # of a job at most: --cores gives fewer here, max-threads in a cluster's profile
THREADS = 1 if RESTORED else AUDIT_THREADS
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
    stamps += shards_of("encoding") if name == "03_training" else []
    stamps += shards_of("generation", settings["n_train"], 0) if name == "04_generation" else []
    return [f"book/chapters/{page}.ipynb" for page in before] + stamps


def shards_of(stage, *run):
    return [SHARD.format(work="_".join(map(str, (stage, *run))), k=k) for k in range(1, SHARDS + 1)]


def shard_run(wildcards):
    """The stage that a shard is of, and its training run, for what is of one."""
    stage, *run = wildcards.work.split("_")
    return stage, dict(zip(("n_train", "draw"), map(int, run)))


def shard_stages(wildcards):
    stage, run = shard_run(wildcards)
    return registry.build(stage, profile, **run)


def shard_sections(wildcards):
    """The settings that a shard's work depends on are those of the pages that show it."""
    stage, run = shard_run(wildcards)
    n = run.get("n_train", profile.sizes[0])
    encoding = ("02_codec", f"03_training_n{n:05d}")  # the codec and the text encoder; and whether latents are drawn
    own = {"encoding": encoding, "generation": (f"04_generation_n{n:05d}",)}.get(stage, ("05_retrieval",))
    return [book_pages.page_settings(profile, page) for page in own]


def page_stages(wildcards):
    name, settings = pages[wildcards.page]
    own = profile.replace(CHAPTERS[name], **settings) if settings else profile
    return chapter_stages(Chapter(name, own, getattr(own, CHAPTERS[name] or "", None), {}))


def run_stages(wildcards):
    return registry.build(wildcards.stage, profile, n_train=int(wildcards.n), draw=int(wildcards.d))


def asked(resource, stages_of, parts=1):
    """A job's `mem_mb` or `runtime`: those of what it computes, or of showing what is published."""

    def ask(wildcards, attempt):
        if RESTORED:
            return {"mem_mb": 4000, "runtime": 60}[resource]
        value = plan.resources(stages_of(wildcards), profile)[resource]
        # the hour for the start is each part's; a GPU may be slower than the one assumed
        return min(MAX_RUNTIME, attempt * ((value - 60) // parts + 60)) if resource == "runtime" else value

    return ask


def gres(stages_of):
    """What a job asks for beside memory and time: a GPU, where it computes with a network."""
    return lambda wildcards: GRES if not RESTORED and plan.with_network(stages_of(wildcards)) else ""


def as_settings(values):
    return " ".join(f"{key}={value}" for key, value in values.items())


wildcard_constraints:
    page="|".join(pages),
    stage="training|quality",
    n=r"\d+",
    d=r"\d+",
    k=r"\d+",
    work=r"encoding|references|generation_\d+_\d+",


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
    threads: THREADS
    params:
        chapter=chapter_of,
        given=lambda w: as_settings(pages[w.page][1]),
        sections=lambda w: book_pages.every_setting(profile) if RESTORED else book_pages.page_settings(profile, w.page),
    resources:
        heavy=HEAVY,
        gres=gres(page_stages),
        mem_mb=asked("mem_mb", page_stages),
        runtime=asked("runtime", page_stages),
    shell:
        "{sys.executable:q} -m helpers chapter {params.chapter} --profile {profile.name}"
        " --set {params.given} --output {output} > /dev/null"


def before_run(wildcards):
    """What a run's stage waits for: its page where it has one, else its own training; to be searched, embeddings too."""
    n, d = int(wildcards.n), int(wildcards.d)
    if wildcards.stage == "training":
        return ["book/chapters/02_codec.ipynb", *shards_of("encoding")]
    if d == 0:
        return [f"book/chapters/04_generation_n{n:05d}.ipynb", *shards_of("references")]
    made = shards_of("generation", n, d) or [STAMP.format(stage="training", n=n, d=d)]
    return [*made, *shards_of("references")]


def before_shard(wildcards):
    """The page before; of a run its training, which its page does where it has one."""
    stage, run = shard_run(wildcards)
    if not run:
        return {"encoding": "book/chapters/01_corpus.ipynb", "references": "book/chapters/02_codec.ipynb"}[stage]
    n, d = run["n_train"], run["draw"]
    return STAMP.format(stage="training", n=n, d=d) if d else f"book/chapters/03_training_n{n:05d}.ipynb"


rule shard:
    input:
        code=CODE,
        data=DATA,
        earlier=before_shard,
    output:
        touch(SHARD),
    threads: THREADS
    params:
        stage=lambda w: shard_run(w)[0],
        run=lambda w: as_settings(shard_run(w)[1]),
        sections=shard_sections,
    resources:
        heavy=HEAVY,
        gres=gres(shard_stages),
        mem_mb=asked("mem_mb", shard_stages),
        runtime=asked("runtime", shard_stages, max(1, SHARDS)),
    shell:
        "{sys.executable:q} -m helpers run {params.stage} --profile {profile.name} --shard {wildcards.k}/{SHARDS}"
        " --set {params.run}"


AUDIT = shlex.split(config.get("audit", ""))
# of this audit alone: parts of another one that was killed do not stand for its own
PART = f"{os.path.dirname(STAMP)}/audit_{hashlib.sha256(repr(AUDIT).encode()).hexdigest()[:16]}_shard"


rule audit_shard:
    output:
        temp(touch(PART + "{k}")),
    threads: AUDIT_THREADS
    resources:
        heavy=2,
        gres=GRES,
    shell:
        "{sys.executable:q} -m helpers audit --profile {profile.name} {AUDIT:q} --shard {wildcards.k}/{config[shards]}"


# no output: an audit is made whenever it is asked for, as the folders may have changed
rule audit:
    input:
        [f"{PART}{k}" for k in range(1, int(config.get("shards", 0)) + 1)],
    threads: AUDIT_THREADS
    resources:
        heavy=2,
        gres=GRES,
    shell:
        "{sys.executable:q} -m helpers audit --profile {profile.name} {AUDIT:q}"


rule run:
    input:
        code=CODE,
        data=DATA,
        earlier=before_run,
    output:
        touch(STAMP),
    threads: THREADS
    params:
        sections=lambda w: book_pages.page_settings(
            profile, f"{'03_training' if w.stage == 'training' else '04_generation'}_n{int(w.n):05d}"
        ),
    resources:
        heavy=HEAVY,
        gres=gres(run_stages),
        mem_mb=asked("mem_mb", run_stages),
        runtime=asked("runtime", run_stages),
    shell:
        "{sys.executable:q} -m helpers run {wildcards.stage} --profile {profile.name}"
        " --set n_train={wildcards.n} draw={wildcards.d} > /dev/null"
