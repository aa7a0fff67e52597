"""The book's chapters and their parameters."""

import dataclasses
import json

import yaml

from helpers.base.paths import BOOK
from helpers.book import chapters, execution, needs, pages, parameters
from helpers.commands.errors import checking
from helpers.commands.stages import print_plan
from helpers.sound.profiles import load_profile
from helpers.study import publication, store


def run_chapter(arguments):
    """`chapter`: prints the path of the executed notebook."""
    with checking():
        settings = parameters.parse_settings(arguments.settings)
        if "profile" in settings:
            raise ValueError("profile: give it as --profile")
        if arguments.output:
            execution.check_output(arguments.output)
        chapter = parameters.check_parameters(arguments.name, {"profile": arguments.profile, **settings})
        if arguments.dry_run:
            print_plan(chapters.chapter_stages(chapter), publication.find(chapter.profile.name))
        try:
            needs.check(chapter)
        except store.NotPublished as error:
            if not arguments.dry_run:
                raise
            print(f"Not computed unasked: {error}")
    if arguments.dry_run:
        return
    output = arguments.output or pages.own_page(chapter)
    print(execution.run_chapter(arguments.name, settings, output, arguments.profile))


def print_profile(arguments):
    """`profile`: every section and field as YAML."""
    with checking():
        profile = dataclasses.asdict(load_profile(arguments.name))
    plain = json.loads(json.dumps(profile))  # lists, as YAML has no tuples
    print(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120), end="")


def tidy_pages(arguments):
    """`tidy`: so that the book holds the pages of one profile only."""
    with checking():
        pages.remove_stale_pages(load_profile(arguments.profile), BOOK / "chapters")
