"""The audit of another model."""

from helpers.base.profile import Profile
from helpers.book import parameters
from helpers.commands.arguments import parse_shard, section_of, with_settings
from helpers.commands.errors import AuditFailed, checking
from helpers.sound.profiles import load_profile

# What a profile says whose clips are read from files, whatever its own are; an audit uses none of it.
OF_FILES = {
    "corpus.kind": "audiofolder",
    "corpus.path": ".",
    "corpus.audio_path": "",
    "corpus.pilot": False,
    "corpus.captions": "specific",
    "planted.trained": False,
    "generation.prompts": "train",
}


def run_audit(arguments):
    """`audit`: writes tables of all clips and prints what is flagged; with --within, the duplicates inside one folder."""
    from helpers.book import audit_page
    from helpers.copies.audit import audit, files, options, within  # import torch

    folders = {kind: getattr(arguments, kind) for kind in audit.KINDS}
    how = (arguments.match_honest, arguments.keep, arguments.chromaprint)
    with checking(OSError):
        options.check(vars(arguments))
        profile = _audited_profile(arguments, audit.leave_out_missing)
        if arguments.shard:
            return audit.prepare(folders, profile, parse_shard(arguments.shard), *how)
        if arguments.within:
            found = within.duplicates(arguments.within, profile)
        else:
            found = audit.audit(*folders.values(), profile, files.left_out_beside(arguments.output), *how)
    print(found, flush=True)  # before anything is written: it took long, and the disk may be full
    channel = profile.corpus.channel
    if arguments.within:
        page = audit_page.within_page(found, arguments.within, channel)
    else:
        page = audit_page.audit_page(found, folders, channel)
    print(*files.write(found, arguments.output, page), sep="\n")
    (count, of), limit = found.counted, arguments.fail_above
    if limit is not None and count is None:
        raise AuditFailed("--fail-above: no rate is stated, so nothing can be counted")
    if limit is not None and count > limit:
        raise AuditFailed(f"--fail-above: expected at most {limit} {of}, got {count}")


def _audited_profile(arguments, leave_out_missing) -> Profile:
    from helpers.copies.audit import options

    profile, settings = load_profile(arguments.profile), parameters.parse_settings(arguments.settings)
    for setting in settings:
        section = section_of(profile, "thresholds", setting)
        options.check_used(setting, section, setting.split(".")[-1], bool(arguments.within))
    profile = with_settings(profile, "thresholds", OF_FILES | settings)
    return profile if {"detectors", "retrieval.detectors"} & settings.keys() else leave_out_missing(profile)
