"""Style sheets and scripts as elements of a page, which then needs nothing from another place."""

from pathlib import Path

HERE = Path(__file__).parent


def inline(*names: str) -> str:
    """The named files beside this module, as `<style>` and `<script>` elements."""
    texts = {name: (HERE / name).read_text(encoding="utf-8") for name in names}
    return "".join(
        f"<style>{text}</style>" if name.endswith(".css") else f"<script>{text}</script>"
        for name, text in texts.items()
    )
