"""What pyproject.toml cannot say: a wheel carries the profiles and the frozen models, which lie beside the package.

They keep their places at the top of the repository; a build copies them to `helpers/resources/`, where
`helpers.base.paths` looks for them. An editable installation uses the checkout and copies nothing.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
MODELS, PARTS = ("codec", "vocoder", "clap"), ("*.safetensors", "config.json", "README.md")  # with their cards
CARRIED = ("profiles/*.yml", "LICENSES.md", *(f"models/{model}/{part}" for model in MODELS for part in PARTS))


def carried() -> list[str]:
    """The files to carry, relative to this folder."""
    return [path.relative_to(HERE).as_posix() for pattern in CARRIED for path in sorted(HERE.glob(pattern))]


class BuildWithResources(build_py):
    """Setuptools' own step, then the resources."""

    def run(self):
        """Copies the package, and beside it what it needs to work away from the repository."""
        super().run()
        if self.editable_mode:
            return
        for name in carried():
            target = Path(self.build_lib, "helpers", "resources", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(HERE / name), str(target), preserve_mode=False)

    def get_source_files(self):
        """A source distribution holds them too."""
        return [*super().get_source_files(), *carried()]


setup(cmdclass={"build_py": BuildWithResources})
