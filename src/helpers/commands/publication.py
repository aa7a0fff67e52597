"""The published study: written, put in place, compared."""

import sys

from helpers.commands.arguments import all_stages, published_folder
from helpers.commands.errors import UserError, checking
from helpers.study import entries, publication
from helpers.study.manifest import read_manifest

LARGEST_PUBLICATION_MB = 56  # it is kept in git


def publish_stages(arguments):
    """`publish`: the finished stages' files for readers; prints their number and size, and which stages are missing."""
    folder = published_folder(arguments)
    with checking():
        stages = all_stages(arguments.profile)
        paths = publication.publish(stages, folder)
    published = entries.read_entries(folder).values()
    total_mb = sum(file["size"] for entry in published for file in entry["files"].values()) / 1e6
    print(f"{len(paths)} files published; {folder} holds {total_mb:.1f} MB")
    for stage in publication.wanted(stages, folder):
        if line := entries.difference(stage, folder):
            print(f"missing: {line}")
    if total_mb > LARGEST_PUBLICATION_MB:
        print(f"warning: expected at most {LARGEST_PUBLICATION_MB} MB, got {total_mb:.1f} MB", file=sys.stderr)


def restore_stages(arguments):
    """`restore`: every stage with published files; stops at the first that differs, in one line that says why.

    One that is here, computed by this code, needs no published files.
    """
    folder, counts = published_folder(arguments), {"restored": 0, "there already": 0}
    with checking():
        stages = publication.wanted(all_stages(arguments.profile), folder)
        for stage in stages:
            here = read_manifest(stage)
            if (not here or here.get("restored")) and (line := entries.difference(stage, folder)):
                raise UserError(line)
            counts["there already" if here else "restored"] += 1
            publication.restore(stage, folder)
    print(f"{len(stages)} stages: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def compare_tables(arguments):
    """`compare`: how many rates lie within the published intervals, and each that does not."""
    from helpers.study import comparison  # pandas: only where it is needed

    folder = published_folder(arguments)
    with checking():
        outcome = comparison.compare(all_stages(arguments.profile), folder)
    print("nothing to compare" if outcome.counts.empty else outcome.counts.to_string(index=False))
    for row in outcome.outside.to_dict("records"):
        print(
            "outside: {table} {rate} {ours:.4g}, published {published:.4g} ({low:.4g} to {high:.4g}): {row}".format(
                **row
            )
        )
    print(*outcome.notes, sep="\n", end="\n" if outcome.notes else "")
